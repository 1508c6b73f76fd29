// Laying text out: sentences for reading back, lines for subtitles. What is laid out once stays where it is.

const SENTENCE = /(?<=[.!?…]["'»”’)\]]*)\s+(?=["'«„“‚‘(\[]*[\p{Lu}\p{N}])|(?<=[。！？][」』）]*)(?=[^。！？」』）])/u;
const ABBREVIATION =
  /(?:^|[^\p{L}\p{N}])(?:\p{L}|\p{N}+|dr|nr|st|mr|ms|mrs|prof|hr|fr|sr|jr|co|vs|bzw|ca|str|abs|jan|feb|aug|sept|okt|oct|nov|dez|dec|inc|ltd)\.$/iu;

// [{ at, text }]: sentences with their offsets in `text`.
export function sentences(text) {
  const found = [];
  let at = 0;
  for (const part of text.split(SENTENCE)) {
    const start = text.indexOf(part, at);
    at = start + part.length;
    const last = found.at(-1);
    if (last && ABBREVIATION.test(last.text)) last.text = text.slice(last.at, at);
    else found.push({ at: start, text: part });
  }
  return found.map((one) => ({ at: one.at, text: one.text.trim() })).filter((one) => one.text);
}

function columns(word) {
  let count = 0;
  for (const sign of word) count += /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60]/.test(sign) ? 2 : 1;
  return count;
}

// Lines of at most `width` columns; wide scripts break anywhere.
export function lines(text, width) {
  const out = [];
  let line = "";
  let used = 0;
  for (const word of text.match(/\s+|[^\s\u2e80-\ua4cf\uf900-\ufaff\uff00-\uff60]+|[^\s]/gu) ?? []) {
    const size = columns(word);
    if (/^\s+$/.test(word)) {
      if (line) {
        line += " ";
        used += 1;
      }
      continue;
    }
    if (used + size > width && line.trim() && !/^[，。、！？；：）」』]/.test(word)) {
      out.push(line.trim());
      line = "";
      used = 0;
    }
    line += word;
    used += size;
  }
  if (line.trim()) out.push(line.trim());
  return out;
}

// Shows the last `count` lines of `text` plus its unstable rest in `box`.
export function roll(box, text, unstable, { width = 42, count = 2 } = {}) {
  const whole = lines(text + unstable, width);
  const stable = lines(text, width);
  const first = Math.max(0, whole.length - count);
  box.replaceChildren(
    ...whole.slice(first).map((line, i) => {
      const row = document.createElement("div");
      row.className = "row";
      const sure = stable[first + i] ?? "";
      const cut = line.startsWith(sure) ? sure.length : 0;
      const span = document.createElement("span");
      span.textContent = line.slice(0, cut);
      const rest = document.createElement("span");
      rest.className = "unstable";
      rest.textContent = line.slice(cut);
      row.append(span, rest);
      return row;
    }),
  );
}
