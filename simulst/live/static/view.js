// What is shown: sentences with their times, the source next to them, the last lines in full screen.

import { roll, sentences } from "/captions.js";

const $ = (id) => document.getElementById(id);

export function time(seconds) {
  const whole = Math.floor(seconds);
  const minutes = String(Math.floor(whole / 60) % 60).padStart(whole >= 3600 ? 2 : 1, "0");
  return `${whole >= 3600 ? `${Math.floor(whole / 3600)}:` : ""}${minutes}:${String(whole % 60).padStart(2, "0")}`;
}

function makeRow() {
  const row = document.createElement("p");
  row.className = "row";
  row.stamp = row.appendChild(document.createElement("time"));
  const body = row.appendChild(document.createElement("div"));
  row.words = body.appendChild(document.createElement("span"));
  row.rest = body.appendChild(document.createElement("span"));
  row.rest.className = "unstable";
  row.rest.setAttribute("aria-hidden", "true");
  return row;
}

// New words become nodes of their own: a screen reader says them, not the sentence again.
function write(span, text) {
  const shown = span.textContent;
  if (text === shown) return;
  if (shown && text.startsWith(shown)) span.append(text.slice(shown.length));
  else span.textContent = text;
}

export class View {
  constructor(client) {
    this.client = client;
    this.follow = true;
    this.drawing = 0;
    const scroll = $("scroll");
    let top = 0;
    scroll.onscroll = () => {
      // only people scroll up; on the way down to new text the end is not reached at once
      if (scroll.scrollTop + scroll.clientHeight > scroll.scrollHeight - 40) this.follow = true;
      else if (scroll.scrollTop < top) this.follow = false;
      top = scroll.scrollTop;
      $("latest").hidden = this.follow;
    };
    $("latest").onclick = () => {
      this.follow = true;
      scroll.scrollTo({ top: scroll.scrollHeight, behavior: "instant" }); // also where it is still rolling
    };
    addEventListener("resize", () => this.draw());
    $("leave").onclick = () => this.fullScreen();
    document.addEventListener("fullscreenchange", () => document.fullscreenElement || this.leave());
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.leave());
  }

  draw() {
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0;
      this.drawNow();
    });
  }

  drawNow() {
    this.drawRows();
    this.drawTranscript();
    if ($("stage").classList.contains("cinema")) this.drawSubtitle();
    if (this.follow) $("scroll").scrollTop = $("scroll").scrollHeight;
  }

  drawRows() {
    const { text, hypothesis, marks } = this.client.state;
    const rows = sentences(text);
    const box = $("text");
    const present = [...box.querySelectorAll(".row:not(.past)")];
    $("welcome").hidden = Boolean(text || hypothesis || this.client.running || box.querySelector(".past"));
    let mark = 0;
    rows.forEach(({ at, text: sentence }, i) => {
      while (mark + 1 < marks.length && marks[mark + 1].at <= at) mark += 1;
      present[i] ??= box.appendChild(makeRow());
      write(present[i].stamp, time(marks[mark]?.time ?? 0));
      write(present[i].words, sentence);
      present[i].rest.textContent = "";
    });
    for (const row of present.splice(rows.length)) row.remove();
    if (hypothesis) (present.at(-1) ?? box.appendChild(makeRow())).rest.textContent = hypothesis;
  }

  drawTranscript() {
    const { transcript } = this.client.state;
    $("source-pane").hidden = !(transcript && $("show-source").checked);
    $("stage").classList.toggle("two", !$("source-pane").hidden);
    if ($("transcript").textContent === transcript) return;
    $("transcript").textContent = transcript;
    const scroll = $("transcript").parentElement;
    scroll.scrollTop = scroll.scrollHeight;
  }

  drawSubtitle() {
    const { text, hypothesis } = this.client.state;
    const box = $("subtitle");
    const width = Math.floor((box.clientWidth * 0.92) / (parseFloat(getComputedStyle(box).fontSize) * 0.56));
    roll(box, text, $("show-unstable").checked ? hypothesis : "", { width: Math.min(60, Math.max(12, width)) });
  }

  // What is shown of this stream stays, greyed, above the next one.
  archive() {
    for (const row of $("text").querySelectorAll(".row:not(.past)")) {
      row.classList.add("past");
      row.words.normalize();
      row.rest.textContent = "";
    }
  }

  clear() {
    $("text").replaceChildren();
    this.client.state.reset();
    this.draw();
  }

  // Everything on the page, one sentence per line.
  text() {
    return [...$("text").querySelectorAll(".row")].map((row) => `${row.words.textContent}\n`).join("");
  }

  // Subtitles on the whole screen, or where a browser has no such thing (phones) on the whole page.
  fullScreen() {
    const stage = $("stage");
    if (stage.classList.contains("cinema")) {
      if (document.fullscreenElement) document.exitFullscreen();
      this.leave();
      return;
    }
    stage.classList.add("cinema");
    stage.requestFullscreen?.().catch(() => {});
    this.draw();
  }

  leave() {
    $("stage").classList.remove("cinema");
    $("subtitle").replaceChildren();
    this.draw();
  }
}
