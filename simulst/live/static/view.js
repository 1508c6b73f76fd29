// What is shown: sentences with their times in every target, the source next to them, the last lines in full screen.

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

// The text in one target.
class Pane {
  constructor(section) {
    this.section = section;
    this.title = section.querySelector("h2");
    this.scroll = section.querySelector(".scroll");
    this.box = section.querySelector("[role=log]");
    this.latest = section.querySelector(".latest");
    this.follow = true;
    let top = 0;
    const { scroll } = this;
    scroll.onscroll = () => {
      // only people scroll up; on the way down to new text the end is not reached at once
      if (scroll.scrollTop + scroll.clientHeight > scroll.scrollHeight - 40) this.follow = true;
      else if (scroll.scrollTop < top) this.follow = false;
      top = scroll.scrollTop;
      this.latest.hidden = this.follow;
    };
    this.latest.onclick = () => {
      this.follow = true;
      scroll.scrollTo({ top: scroll.scrollHeight, behavior: "instant" }); // also where it is still rolling
    };
  }

  static beside(section) {
    const made = section.cloneNode(true);
    made.querySelector("#welcome").remove();
    for (const one of made.querySelectorAll("[id]")) one.removeAttribute("id");
    made.querySelector("[role=log]").replaceChildren();
    section.parentElement.insertBefore(made, $("subtitle"));
    return new Pane(made);
  }

  name(title, language) {
    this.title.textContent = title;
    this.section.setAttribute("aria-label", title);
    this.box.lang = language;
  }

  draw({ text, hypothesis, marks }) {
    const rows = sentences(text);
    const present = [...this.box.querySelectorAll(".row:not(.past)")];
    let mark = 0;
    rows.forEach(({ at, text: sentence }, i) => {
      while (mark + 1 < marks.length && marks[mark + 1].at <= at) mark += 1;
      present[i] ??= this.box.appendChild(makeRow());
      write(present[i].stamp, time(marks[mark]?.time ?? 0));
      write(present[i].words, sentence);
      present[i].rest.textContent = "";
    });
    for (const row of present.splice(rows.length)) row.remove();
    if (hypothesis) (present.at(-1) ?? this.box.appendChild(makeRow())).rest.textContent = hypothesis;
  }

  archive() {
    for (const row of this.box.querySelectorAll(".row:not(.past)")) {
      row.classList.add("past");
      row.words.normalize();
      row.rest.textContent = "";
    }
  }

  text() {
    return [...this.box.querySelectorAll(".row")].map((row) => `${row.words.textContent}\n`).join("");
  }
}

export class View {
  constructor(client) {
    this.client = client;
    this.panes = [new Pane($("text").closest(".pane"))];
    this.sourceToo = true;
    this.drawing = 0;
    addEventListener("resize", () => this.draw());
    $("leave").onclick = () => this.fullScreen();
    document.addEventListener("fullscreenchange", () => document.fullscreenElement || this.leave());
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.leave());
  }

  // A pane for each target of [{ code, name }]; `source` is the language that is heard, where it is known.
  show(targets, source) {
    while (this.panes.length > Math.max(1, targets.length)) this.panes.pop().section.remove();
    while (this.panes.length < targets.length) this.panes.push(Pane.beside(this.panes[0].section));
    const several = targets.length > 1;
    this.panes.forEach((pane, i) => pane.name(several ? targets[i].name : "Translation", targets[i]?.code ?? ""));
    this.sourceToo = !(several && targets.some(({ code }) => code === source)); // it would be there twice
    this.draw();
  }

  draw() {
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0;
      this.drawNow();
    });
  }

  drawNow() {
    const states = [...this.client.states.values()];
    const begun = states.some(({ text, hypothesis }) => text || hypothesis);
    $("welcome").hidden = Boolean(begun || this.client.running || $("text").querySelector(".past"));
    this.panes.forEach((pane, i) => {
      if (states[i]) pane.draw(states[i]);
      if (pane.follow) pane.scroll.scrollTop = pane.scroll.scrollHeight;
    });
    this.drawTranscript();
    if ($("stage").classList.contains("cinema")) this.drawSubtitle();
  }

  drawTranscript() {
    const { transcript } = this.client.state;
    $("source-pane").hidden = !(transcript && this.sourceToo && $("show-source").checked);
    $("stage").classList.toggle("two", !$("source-pane").hidden);
    $("stage").style.setProperty("--panes", this.panes.length);
    $("stage").classList.toggle("several", this.panes.length > 1);
    if ($("transcript").textContent === transcript) return;
    $("transcript").textContent = transcript;
    const scroll = $("transcript").parentElement;
    scroll.scrollTop = scroll.scrollHeight;
  }

  drawSubtitle() {
    const states = [...this.client.states.values()];
    const box = $("subtitle");
    const width = Math.floor((box.clientWidth * 0.92) / (parseFloat(getComputedStyle(box).fontSize) * 0.56));
    while (box.children.length > states.length) box.lastChild.remove();
    while (box.children.length < states.length) box.appendChild(document.createElement("div"));
    states.forEach(({ text, hypothesis }, i) => {
      roll(box.children[i], text, $("show-unstable").checked ? hypothesis : "", { width: Math.min(60, Math.max(12, width)) });
    });
  }

  // What is shown of this stream stays, greyed, above the next one.
  archive() {
    for (const pane of this.panes) pane.archive();
  }

  clear() {
    for (const pane of this.panes) pane.box.replaceChildren();
    this.client.reset();
    this.draw();
  }

  // Everything on the page in a target, one sentence per line.
  text(target = "") {
    this.drawNow();
    return this.panes[Math.max(0, [...this.client.states.keys()].indexOf(target))].text();
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
