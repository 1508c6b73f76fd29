// The page: what is pressed, what is shown.

import { fromFile, fromMicrophone, fromTab, microphones } from "/audio.js";
import { roll, sentences } from "/captions.js";
import { LiveClient } from "/client.js";

const $ = (id) => document.getElementById(id);
const remembered = ["source", "mic", "speed", "model", "policy", "chunk", "size", "theme", "contrast", "show-source", "show-unstable"];
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
const client = new LiveClient({ token });
const exports = {}; // what the server sent when a stream ended
let config = null;
let source = null;
let wanted = ""; // format of the export that was asked for
let follow = true;
let drawing = 0;
let wakeLock = null;

const channel = (() => {
  const made = localStorage.getItem("simulst.channel") ?? crypto.getRandomValues(new Uint32Array(4)).join("-");
  localStorage.setItem("simulst.channel", made);
  return made;
})();

// ---- settings

function recall() {
  for (const id of remembered) {
    const value = localStorage.getItem(`simulst.${id}`);
    const field = $(id);
    if (value === null) continue;
    if (field.type === "checkbox") field.checked = value === "true";
    else if (field.tagName !== "SELECT" || [...field.options].some((one) => one.value === value)) field.value = value;
  }
}

function remember(id) {
  const field = $(id);
  localStorage.setItem(`simulst.${id}`, field.type === "checkbox" ? field.checked : field.value);
}

function fill(select, values) {
  const before = select.value;
  select.replaceChildren(...values.map(({ value, label }) => new Option(label, value)));
  if (values.some(({ value }) => value === before)) select.value = before;
}

async function loadConfig() {
  const answer = await fetch("/config");
  config = await answer.json();
  fill($("model"), config.models.map(({ name }) => ({ value: name, label: name })));
  $("model").value = config.model;
  offerPolicies();
  recall();
  offerPolicies();
  recall();
  showNote();
}

function offerPolicies() {
  const model = config.models.find(({ name }) => name === $("model").value) ?? config.models[0];
  fill($("policy"), model.policies.map((name) => ({ value: name, label: name })));
  if (!$("policy").dataset.chosen && model.policies.includes(config.policy)) $("policy").value = config.policy;
  $("policy").dataset.chosen = "yes";
}

function showNote() {
  const policy = config?.policies[$("policy").value];
  $("policy-note").textContent = policy ? `${policy.summary} ${policy.source}`.trim() : "";
}

function chosen() {
  const chunk = $("chunk").value;
  return { model: $("model").value, policy: $("policy").value, ...(chunk ? { chunk_ms: Number(chunk) } : {}) };
}

async function listMicrophones() {
  const found = await microphones();
  fill($("mic"), [{ value: "", label: "Default" }, ...found.map((one, i) => ({ value: one.deviceId, label: one.label || `Microphone ${i + 1}` }))]);
}

function applyView() {
  const root = document.documentElement;
  root.dataset.theme = $("theme").value;
  root.classList.toggle("contrast", $("contrast").checked);
  root.style.setProperty("--size", `${$("size").value}px`);
  root.classList.toggle("hide-unstable", !$("show-unstable").checked);
  const kind = $("source").value;
  $("mic-field").hidden = kind !== "mic";
  $("file-field").hidden = $("speed-field").hidden = kind !== "file";
  draw();
}

// ---- drawing

function time(seconds) {
  const whole = Math.floor(seconds);
  const minutes = String(Math.floor(whole / 60) % 60).padStart(whole >= 3600 ? 2 : 1, "0");
  return `${whole >= 3600 ? `${Math.floor(whole / 3600)}:` : ""}${minutes}:${String(whole % 60).padStart(2, "0")}`;
}

function draw() {
  drawing ||= requestAnimationFrame(() => {
    drawing = 0;
    drawText();
  });
}

function drawText() {
  const { text, hypothesis, transcript, marks } = client.state;
  const rows = sentences(text);
  const box = $("text");
  $("welcome").hidden = Boolean(text || hypothesis || client.running || box.querySelector(".past"));
  const present = [...box.querySelectorAll(".row:not(.past)")];
  let mark = 0;
  rows.forEach(({ at, text: sentence }, i) => {
    while (mark + 1 < marks.length && marks[mark + 1].at <= at) mark += 1;
    const row = present[i] ?? box.appendChild(makeRow());
    const stamp = time(marks[mark]?.time ?? 0);
    if (row.stamp.textContent !== stamp) row.stamp.textContent = stamp;
    if (row.words.textContent !== sentence) row.words.textContent = sentence;
    row.rest.textContent = "";
  });
  for (const row of present.slice(rows.length)) row.remove();
  if (hypothesis) {
    const row = rows.length ? box.querySelectorAll(".row:not(.past)")[rows.length - 1] : box.appendChild(makeRow());
    row.rest.textContent = hypothesis;
  }
  $("source-pane").hidden = !(transcript && $("show-source").checked);
  $("stage").classList.toggle("two", !$("source-pane").hidden);
  if ($("transcript").textContent !== transcript) {
    $("transcript").textContent = transcript;
    const scroll = $("transcript").parentElement;
    scroll.scrollTop = scroll.scrollHeight;
  }
  if (document.fullscreenElement) {
    const box = $("subtitle");
    const width = Math.floor((box.clientWidth * 0.92) / (parseFloat(getComputedStyle(box).fontSize) * 0.56));
    roll(box, text, $("show-unstable").checked ? hypothesis : "", { width: Math.min(60, Math.max(12, width)) });
  }
  if (follow) $("scroll").scrollTop = $("scroll").scrollHeight;
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

function archive() {
  for (const row of $("text").querySelectorAll(".row")) {
    row.classList.add("past");
    row.rest.textContent = "";
  }
}

function alertUser(message) {
  $("alert").textContent = message;
  $("alert").hidden = !message;
}

// ---- running

async function openSource() {
  const kind = $("source").value;
  if (kind === "mic") return fromMicrophone($("mic").value);
  if (kind === "tab") return fromTab();
  const file = $("file").files[0];
  if (!file) throw new Error("Choose a file first.");
  return fromFile(file, $("speed").value === "play");
}

async function start() {
  alertUser("");
  $("toggle").disabled = true;
  try {
    source = await openSource();
  } catch (error) {
    alertUser(error.message);
    return;
  } finally {
    $("toggle").disabled = false;
  }
  archive();
  for (const key of Object.keys(exports)) delete exports[key];
  client.start({ sample_rate: source.sampleRate, pace: source.pace, channel, ...chosen() });
  for (const button of $("exports").children) button.disabled = false;
  $("level-field").hidden = false;
  navigator.wakeLock?.request("screen").then((lock) => (wakeLock = lock), () => {});
  const mine = source;
  try {
    await mine.run((samples, peak) => {
      $("level").value = peak;
      return client.send(samples);
    });
  } catch (error) {
    alertUser(error.message);
  }
  if (source === mine) {
    source = null;
    client.end();
  }
  $("level-field").hidden = true;
  if ($("source").value === "mic") listMicrophones(); // their names are known once one was allowed
}

function stop() {
  if (client.ending) client.cancel();
  else if (source) source.stop();
  else client.end();
}

function toggle() {
  if (client.running) stop();
  else start();
}

const STATES = { idle: "Ready", connecting: "Connecting", running: "Listening", reconnecting: "Reconnecting", finishing: "Finishing" };

client.addEventListener("state", ({ detail: { state } }) => {
  $("status").textContent = STATES[state];
  $("status").dataset.state = state;
  $("toggle").textContent = state === "finishing" ? "Cancel" : client.running ? "Stop" : "Start";
  $("toggle").classList.toggle("stop", client.running);
  document.documentElement.classList.toggle("running", client.running);
  if (state === "idle") {
    source?.stop();
    wakeLock?.release();
    wakeLock = null;
  }
});
client.addEventListener("change", draw);
client.addEventListener("expired", () => {
  drawText();
  archive();
});
client.addEventListener("lag", ({ detail }) => {
  $("lag").textContent = `${detail.lag_s.toFixed(1)} s`;
  $("load").textContent = `${Math.round(detail.load * 100)} %`;
  $("backlog").textContent = `${detail.backlog_s.toFixed(1)} s`;
  $("clock").textContent = time(detail.audio_s);
  $("load").classList.toggle("bad", detail.load > 1);
});
client.addEventListener("problem", ({ detail }) => alertUser(detail.message));
client.addEventListener("end", () => {
  drawText();
  for (const button of $("exports").children) client.export(button.dataset.format);
});
client.addEventListener("export", ({ detail }) => {
  exports[detail.format] = detail.text;
  if (wanted === detail.format) save(detail.format);
});

function save(format) {
  wanted = "";
  const type = { srt: "application/x-subrip", vtt: "text/vtt", txt: "text/plain", jsonl: "application/jsonl" }[format];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([exports[format]], { type }));
  link.download = `simulst-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function exportAs(format) {
  wanted = format;
  if (!client.running && exports[format] !== undefined) save(format);
  else client.export(format);
}

function changeSettings() {
  showNote();
  if (client.running && !client.ending) client.switch(chosen());
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else $("stage").requestFullscreen().catch((error) => alertUser(error.message));
}

async function copyOverlay() {
  const address = new URL(`/overlay?channel=${channel}`, location.href);
  if (token) address.hash = `token=${token}`;
  $("overlay-address").textContent = address.href;
  try {
    await navigator.clipboard.writeText(address.href);
    $("overlay").textContent = "Copied";
    setTimeout(() => ($("overlay").textContent = "Copy overlay address"), 2000);
  } catch {
    // it is shown to be copied by hand
  }
}

// ---- wiring

$("toggle").onclick = toggle;
$("latest").onclick = () => {
  follow = true;
  draw();
};
$("scroll").onscroll = () => {
  const { scrollTop, scrollHeight, clientHeight } = $("scroll");
  follow = scrollTop + clientHeight > scrollHeight - 40;
  $("latest").hidden = follow;
};
$("full").onclick = fullScreen;
$("overlay").onclick = copyOverlay;
for (const button of $("exports").children) button.onclick = () => exportAs(button.dataset.format);
for (const id of remembered) {
  $(id).addEventListener("input", () => {
    remember(id);
    if (id === "model") offerPolicies();
    if (["model", "policy", "chunk"].includes(id)) changeSettings();
    applyView();
  });
}
document.onfullscreenchange = () => {
  $("subtitle").replaceChildren();
  draw();
};
document.addEventListener("keydown", (event) => {
  if (!event.altKey || event.ctrlKey || event.metaKey) return;
  const size = $("size");
  const actions = {
    KeyS: toggle,
    KeyF: fullScreen,
    KeyC: () => $("contrast").click(),
    Equal: () => size.stepUp(),
    NumpadAdd: () => size.stepUp(),
    Minus: () => size.stepDown(),
    NumpadSubtract: () => size.stepDown(),
  };
  const action = actions[event.code];
  if (!action) return;
  event.preventDefault();
  action();
  size.dispatchEvent(new Event("input"));
  $("contrast").dispatchEvent(new Event("input"));
});
let dragged = 0;
document.addEventListener("dragenter", () => {
  dragged += 1;
  $("drop").classList.add("shown");
});
document.addEventListener("dragleave", () => {
  dragged -= 1;
  if (dragged <= 0) $("drop").classList.remove("shown");
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  dragged = 0;
  $("drop").classList.remove("shown");
  if (!event.dataTransfer.files.length || client.running) return;
  $("source").value = "file";
  $("file").files = event.dataTransfer.files;
  applyView();
  start();
});
addEventListener("pagehide", () => client.socket?.close(1000));

$("more").open = matchMedia("(min-width: 1000px)").matches;
recall();
applyView();
listMicrophones();
loadConfig().catch(() => alertUser("The server cannot be reached; reload the page when it runs."));
