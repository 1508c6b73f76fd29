// The page: what is pressed and what then happens.

import { fromFile, fromMicrophone, fromTab, microphones } from "/audio.js";
import { LiveClient } from "/client.js";
import { View, time } from "/view.js";

const $ = (id) => document.getElementById(id);
const remembered = ["source", "mic", "speed", "model", "policy", "target", "beside", "chunk", "glossary", "size", "theme", "contrast", "show-source", "show-unstable"];
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
const client = new LiveClient({ token });
const view = new View(client);
const exports = {}; // what the server sent when a stream ended
const exportButtons = $("exports").querySelectorAll("button");
let config = null;
let source = null;
let wanted = ""; // format of the export that was asked for
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
  offer();
  recall();
  offer();
  recall();
  offerBeside();
  recall();
  showTargets();
  $("captions-field").hidden = !config.captions.length;
  $("captions-to").textContent = config.captions.join(", ");
  showNote();
}

function languageName(code) {
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code);
  } catch {
    return code; // one of the model's own
  }
}

function chosenModel() {
  return config.models.find(({ name }) => name === $("model").value) ?? config.models[0];
}

// What a model can do: policies, and languages to write.
function offer() {
  offerPolicies(chosenModel());
  const translated = new Set(chosenModel().pairs.filter(({ task }) => task === "translate").map(({ target }) => target));
  const codes = [...new Set(chosenModel().pairs.map(({ target }) => target).filter(Boolean))];
  const label = (code) => (translated.has(code) ? languageName(code) : `${languageName(code)} transcript`);
  fill($("target"), codes.map((code) => ({ value: code, label: label(code) })));
  offerBeside();
}

function offerBeside() {
  const others = [...$("target").options].filter(({ value }) => value !== $("target").value);
  fill($("beside"), [{ value: "", label: "Nothing" }, ...others.map(({ value, text }) => ({ value, label: text }))]);
  $("target-field").hidden = $("beside-field").hidden = !others.length;
}

// Languages that are written, as the stream is told.
function targets() {
  return [$("target").value, $("beside").value].filter(Boolean);
}

function showTargets() {
  const found = targets().map((code) => ({ code, name: languageName(code) }));
  const source = config.models.length && chosenModel().pairs.find(({ target }) => target === found[0]?.code)?.source;
  view.show(found, source);
  fill($("save-target"), found.map(({ code, name }) => ({ value: code, label: name })));
  $("save-target").hidden = found.length < 2;
}

function offerPolicies(model) {
  fill($("policy"), model.policies.map((name) => ({ value: name, label: name })));
  if (!$("policy").dataset.chosen && model.policies.includes(config.policy)) $("policy").value = config.policy;
  $("policy").dataset.chosen = "yes";
}

function showNote() {
  const policy = config?.policies[$("policy").value];
  $("chunk").options[0].label = policy ? `Of the policy (${policy.chunk_ms / 1000} s steps)` : "Of the policy";
  $("policy-note").textContent = policy ? `${policy.summary} ${policy.source}`.trim() : "";
}

function chosen() {
  const chunk = $("chunk").value;
  const [target, beside] = targets();
  const written = beside ? { targets: [target, beside] } : target ? { target } : {};
  return { model: $("model").value, policy: $("policy").value, glossary: terms(), ...written, ...(chunk ? { chunk_ms: Number(chunk) } : {}) };
}

function terms() {
  return $("glossary").value.replace(/[^\S\n]*[=→\t][^\S\n]*/g, "\t").trim();
}

async function listMicrophones() {
  const found = await microphones();
  fill($("mic"), [{ value: "", label: "Default" }, ...found.map((one, i) => ({ value: one.deviceId, label: one.label || `Microphone ${i + 1}` }))]);
  recall();
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
  view.draw();
}

// ---- running

function alertUser(message) {
  $("alert").textContent = message;
  $("alert").hidden = !message;
}

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
  view.archive();
  for (const key of Object.keys(exports)) delete exports[key];
  client.start({ sample_rate: source.sampleRate, pace: source.pace, channel, ...($("captions").checked ? { captions: true } : {}), ...chosen() });
  showTargets();
  if (matchMedia("(max-width: 700px)").matches) $("more").open = false; // what is said needs the room
  for (const button of exportButtons) button.disabled = false;
  $("level-field").hidden = false;
  stayAwake();
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

function stayAwake() {
  navigator.wakeLock?.request("screen").then((lock) => (wakeLock = lock), () => {});
}

function stop() {
  if (client.ending) client.cancel();
  else if (source) source.stop();
  else client.end();
}

function toggle() {
  if ($("toggle").disabled) return;
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
  for (const id of ["source", "mic", "file", "speed", "clear", "beside", "captions"]) $(id).disabled = client.running;
  $("target").disabled = client.running && client.states.size > 1; // a stream keeps its targets
  if (state === "idle") {
    source?.stop();
    wakeLock?.release();
    wakeLock = null;
  }
});
client.addEventListener("change", () => view.draw());
client.addEventListener("expired", () => {
  view.drawNow();
  view.archive();
});
client.addEventListener("lag", ({ detail }) => {
  $("lag").textContent = `${detail.lag_s.toFixed(1)} s`;
  $("load").textContent = `${Math.round(detail.load * 100)} %`;
  $("backlog").textContent = `${detail.backlog_s.toFixed(1)} s`;
  $("clock").textContent = time(detail.audio_s);
  $("load").classList.toggle("bad", detail.load > 1);
});
client.addEventListener("problem", ({ detail }) => alertUser(detail.message));
client.addEventListener("end", ({ detail }) => {
  if (detail.reason === "idle") alertUser("No sound came for a while and somebody else needed the place; press Start to continue.");
  view.drawNow();
  [...client.states.keys()].forEach((target, i) => {
    const ask = () => [...exportButtons].forEach((button) => client.running || client.export(button.dataset.format, target));
    if (i) setTimeout(ask, 1500 * i); // not more at a time than the server takes
    else ask();
  });
});
client.addEventListener("export", ({ detail }) => {
  const key = `${detail.target ?? ""}.${detail.format}`;
  exports[key] = detail.text;
  if (wanted === key) save(key, detail.text);
});

// `key` is TARGET.FORMAT.
function save(key, text) {
  wanted = "";
  const format = key.split(".").at(-1);
  const type = { srt: "application/x-subrip", vtt: "text/vtt", txt: "text/plain", jsonl: "application/jsonl" }[format];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = `simulst-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}${key.startsWith(".") ? key : `.${key}`}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function exportAs(format) {
  const target = client.states.size > 1 ? $("save-target").value : "";
  const key = `${target}.${format}`;
  wanted = key;
  if (!client.running && exports[key] !== undefined) save(key, exports[key]);
  else if (client.connected) client.export(format, target);
  else if (format === "txt") save(key, view.text(target));
  else alertUser("The server is gone, and the times with it; what is shown can be saved as TXT.");
}

function changeSettings() {
  showNote();
  if (!client.running && !client.state.text) showTargets(); // what was said stays until the next start
  if (client.running && !client.ending) client.switch(chosen());
}

async function copyOverlay() {
  const written = targets().length > 1 ? targets().map((target) => `&target=${encodeURIComponent(target)}`) : [""];
  const hash = token ? `#token=${encodeURIComponent(token)}` : "";
  const addresses = written.map((target) => new URL(`/overlay?channel=${channel}${target}${hash}`, location.href).href);
  $("overlay-address").textContent = addresses.join("\n");
  try {
    await navigator.clipboard.writeText(addresses.join("\n"));
    $("overlay").textContent = "Copied";
    setTimeout(() => ($("overlay").textContent = "Copy overlay address"), 2000);
  } catch {
    // it is shown to be copied by hand
  }
}

// ---- wiring

$("toggle").onclick = toggle;
$("full").onclick = () => view.fullScreen();
$("clear").onclick = () => view.clear();
$("overlay").onclick = copyOverlay;
for (const button of exportButtons) button.onclick = () => exportAs(button.dataset.format);
for (const id of remembered) {
  $(id).addEventListener("input", () => {
    remember(id);
    if (id === "model") offer();
    if (id === "target") offerBeside();
    if (["model", "policy", "chunk", "target", "beside"].includes(id)) changeSettings();
    applyView();
  });
}
$("glossary").onchange = changeSettings;
document.onvisibilitychange = () => client.running && !document.hidden && stayAwake();
document.addEventListener("keydown", (event) => {
  if (!event.altKey || event.ctrlKey || event.metaKey) return;
  const size = $("size");
  const actions = {
    KeyS: toggle,
    KeyF: () => view.fullScreen(),
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
document.addEventListener("dragenter", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  dragged += 1;
  $("drop").classList.add("shown");
});
document.addEventListener("dragleave", () => {
  dragged = Math.max(0, dragged - 1);
  if (dragged <= 0) $("drop").classList.remove("shown");
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  dragged = 0;
  $("drop").classList.remove("shown");
  if (!event.dataTransfer.files.length) return;
  if (client.running) {
    alertUser("Press Stop first, then drop the file again.");
    return;
  }
  $("source").value = "file";
  $("file").files = event.dataTransfer.files;
  applyView();
  start();
});
addEventListener("pagehide", () => client.socket?.close(1000));

navigator.mediaDevices?.addEventListener("devicechange", listMicrophones);
$("source").querySelector("[value=tab]").disabled = !navigator.mediaDevices?.getDisplayMedia;
$("more").open = matchMedia("(min-width: 1000px)").matches;
recall();
applyView();
listMicrophones();
loadConfig().catch(() => alertUser("The server cannot be reached; reload the page when it runs."));
