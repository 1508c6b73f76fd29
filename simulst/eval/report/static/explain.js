"use strict";
// Only what lies in the chosen window is drawn, so an hour costs no more than a sentence. All text goes through
// textContent or fillText: hypotheses and file names are foreign matter.
const data = JSON.parse(document.getElementById("data").textContent);
const by = (id) => document.getElementById(id);
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const peaks = bytes(data.peaks);
const HEAD = 22, WAVE = 64, LANE = 34, ROW = 15, LABELS = 92;
let chosen = 0;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const span = () => Number(by("span").value);
const from = () => Number(by("from").value);
const writes = (one) => one.written !== "" || (one.tokens || []).length > 0;

function tokens(begin, end) {
  const found = [];
  for (const one of data.decisions) {
    if (one.at_s < begin || one.at_s > end + 0.001) continue;
    (one.tokens || []).forEach(([text, time], k) => found.push({ text, time, at_s: one.at_s, start: one.row_s, step: one.column_s, row: one.rows && one.rows[k] }));
  }
  return found;
}

function clipped(pen, text, width) {
  if (width < 12) return "";
  if (pen.measureText(text).width <= width) return text;
  let end = text.length;
  while (end > 1 && pen.measureText(text.slice(0, end) + "…").width > width) end--;
  return end > 1 ? text.slice(0, end) + "…" : "";
}

function wave(pen, X, begin, end, top) {
  pen.fillStyle = colour("--soft");
  const first = Math.max(0, Math.floor(begin / data.peak_s)), last = Math.min(peaks.length, Math.ceil(end / data.peak_s));
  const width = Math.max(1, X(data.peak_s) - X(0));
  for (let k = first; k < last; k++) {
    const height = Math.max(1, (peaks[k] / 255) * WAVE);
    pen.fillRect(X(k * data.peak_s), top + (WAVE - height) / 2, width, height);
  }
}

function lanes(pen, X, begin, end, top) {
  data.decisions.forEach((one, k) => {
    const next = k + 1 < data.decisions.length ? data.decisions[k + 1].at_s : end;
    const before = k ? data.decisions[k - 1].at_s : 0;
    if (next < begin || before > end) return;
    const left = X(one.at_s), room = X(Math.min(next, end)) - left - 4;
    pen.fillStyle = colour("--soft");
    if (one.news) pen.fillText(clipped(pen, one.news, X(one.at_s) - X(Math.max(before, begin)) - 4), X(Math.max(before, begin)) + 2, top + 12);
    if (one.at_s < begin || one.at_s > end) return;
    pen.fillStyle = one.retracted ? colour("--c1") : writes(one) ? colour("--c2") : colour("--c7");
    pen.fillRect(left - 1, top + 18, writes(one) ? 3 : 2, LANE - (writes(one) ? 18 : 24));
    pen.fillText(clipped(pen, one.written.trim() || (writes(one) ? "…" : ""), room), left + 4, top + 31);
    if (k === chosen) {
      pen.strokeStyle = colour("--accent");
      pen.strokeRect(left - 3.5, top + 16.5, Math.max(8, Math.min(room, 120)) + 6, LANE - 15);
    }
  });
}

function heat(pen, X, found, top, begin, end) {
  const accent = colour("--accent"), ink = colour("--ink"), grid = colour("--grid");
  found.forEach((token, k) => {
    const y = top + k * ROW;
    pen.fillStyle = grid;
    pen.fillRect(LABELS, y + ROW - 1, X(end) - LABELS, 1);
    pen.fillStyle = accent;
    if (token.row) {
      bytes(token.row).forEach((weight, column) => {
        const at = token.start + column * token.step;
        if (!weight || at + token.step < begin || at > end) return;
        pen.globalAlpha = weight / 255;
        const left = Math.max(LABELS, X(at));
        pen.fillRect(left, y + 1, Math.max(1, X(at + token.step) - left), ROW - 3);
      });
      pen.globalAlpha = 1;
    }
    pen.fillStyle = colour("--c2");
    pen.fillRect(X(token.at_s) - 1, y, 2, ROW - 1);
    pen.fillStyle = ink;
    pen.textAlign = "right";
    pen.fillText(clipped(pen, token.text.trim() || "␣", LABELS - 10), LABELS - 6, y + 11);
    pen.textAlign = "left";
  });
}

function draw() {
  const begin = from(), end = begin + span(), board = by("board"), found = tokens(begin, end);
  const width = board.clientWidth || 320, height = HEAD + WAVE + LANE + 12 + found.length * ROW + 6;
  const ratio = window.devicePixelRatio || 1;
  board.style.height = `${height}px`;
  [board.width, board.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  const pen = board.getContext("2d");
  pen.scale(ratio, ratio);
  pen.font = "11px system-ui, sans-serif";
  const X = (t) => LABELS + ((t - begin) / (end - begin)) * (width - LABELS - 6);
  for (const { value, label } of ticks(begin, end, Math.max(3, width / 90))) {
    pen.fillStyle = colour("--grid");
    pen.fillRect(X(value), HEAD - 4, 1, height);
    pen.fillStyle = colour("--soft");
    if (X(value) + 30 < width) pen.fillText(`${label} s`, X(value) + 3, 12);
  }
  for (const [text, y] of [["audio", HEAD + WAVE / 2 + 4], ["heard", HEAD + WAVE + 12], ["written", HEAD + WAVE + 31]]) {
    pen.fillStyle = colour("--soft");
    pen.fillText(text, 2, y);
  }
  wave(pen, X, begin, end, HEAD);
  lanes(pen, X, begin, end, HEAD + WAVE);
  heat(pen, X, found, HEAD + WAVE + LANE + 12, begin, end);
  board.setAttribute("aria-label", `${begin.toFixed(1)} to ${end.toFixed(1)} s: ${found.map((t) => t.text).join("").trim() || "nothing written"}`);
  by("shown").textContent = `${begin.toFixed(1)} to ${Math.min(end, data.end_s).toFixed(1)} s of ${data.end_s.toFixed(1)} s`;
  facts();
}

function facts() {
  const one = data.decisions[chosen], lines = [];
  const what = writes(one) ? "WRITE" : "READ";
  lines.push(["step", `${one.step}, at ${one.at_s} s (decoding sees audio from ${one.from_s} to ${one.heard_s} s)`]);
  lines.push(["decision", `${what}, because: ${one.reason || "–"}${one.segment_end ? "; the segment ends here" : ""}`]);
  if (one.written) lines.push(["written", one.written]);
  if (one.retracted) lines.push(["taken back", `${one.retracted} characters`]);
  if (one.rest) lines.push(["held back", one.rest]);
  if (one.news) lines.push(["heard since", one.news]);
  for (const [name, value] of Object.entries(one.values || {})) lines.push([name, JSON.stringify(value)]);
  (one.tokens || []).forEach(([text, time]) => lines.push(["attends to", `${text.trim()}: ${time === null ? "not known" : `${time} s, written ${(one.at_s - time).toFixed(2)} s later`}`]));
  by("decision").replaceChildren(...lines.flatMap(([name, text]) => [el("dt", { text: name }), el("dd", { text })]));
}

function choose(k) {
  chosen = Math.max(0, Math.min(data.decisions.length - 1, k));
  const at = data.decisions[chosen].at_s;
  if (at < from() || at > from() + span()) by("from").value = Math.max(0, at - span() / 2);
  draw();
}

function marked(text) {
  const line = el("p");
  for (const part of text.split(/(\[-.*?-\]|\{\+.*?\+\})/)) {
    const gone = part.startsWith("[-"), come = part.startsWith("{+");
    line.append(gone || come ? el(gone ? "del" : "ins", { text: part.slice(2, -2) }) : document.createTextNode(part));
  }
  return line;
}

by("title").textContent = data.title;
by("subtitle").textContent = data.subtitle;
by("notes").append(...data.notes.map((text) => el("p", { class: "soft", text })));
by("from").max = Math.max(0, data.end_s - 5);
for (const id of ["from", "span"]) by(id).addEventListener("input", draw);
by("back").addEventListener("click", () => { by("from").value = from() - span(); draw(); });
by("on").addEventListener("click", () => { by("from").value = from() + span(); draw(); });
by("board").addEventListener("click", (event) => {
  const box = by("board").getBoundingClientRect();
  const time = from() + ((event.clientX - box.left - LABELS) / (box.width - LABELS - 6)) * span();
  choose(data.decisions.findLastIndex((one) => one.at_s <= time + 0.02));
});
by("board").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) { event.preventDefault(); choose(chosen + step); }
});
if (matchMedia("(max-width: 36rem)").matches) by("span").value = "10";
if (data.segments.length) {
  by("segments-section").hidden = false;
  by("segments").append(...data.segments.map((s) => {
    const head = el("header", {}, el("b", { text: `from ${s.from_s.toFixed(1)} s` }), el("span", { text: `${s.words} words differ` }));
    const jump = el("button", { type: "button", text: "show" });
    jump.addEventListener("click", () => { by("from").value = s.from_s; choose(data.decisions.findIndex((one) => one.at_s >= s.from_s)); by("board").scrollIntoView({ block: "nearest" }); });
    head.append(jump);
    return el("article", { class: "segment" }, head, s.source ? el("p", { class: "soft", text: s.source }) : "", marked(s.marked));
  }));
}
const asked = Number(location.hash.slice(1));  // seconds, as the report page links to a segment
by("from").value = asked || 0;
choose(Math.max(0, data.decisions.findIndex((one) => writes(one) && one.at_s >= (asked || 0))));
addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
