// The last lines of a channel on a transparent page, for OBS and the like.
// /overlay?channel=ID&target=en&size=48&lines=2&width=42&color=fff&hold=8&unstable=0   and  #token=...

import { roll } from "/captions.js";
import { TextState } from "/client.js";

const wanted = new URLSearchParams(location.search);
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
const number = (name, fallback, low, high) => Math.min(high, Math.max(low, Number(wanted.get(name) ?? fallback) || fallback));
const box = document.getElementById("subtitle");
const layout = { width: number("width", 42, 8, 120), count: number("lines", 2, 1, 6) };
const hold = number("hold", 8, 1, 3600) * 1000;
const unstable = wanted.get("unstable") === "1";
const state = new TextState();
let hiding = 0;

document.documentElement.style.setProperty("--size", `${number("size", 48, 8, 200)}px`);
if (/^[0-9a-f]{3,8}$/i.test(wanted.get("color") ?? "")) {
  document.documentElement.style.setProperty("--ink", `#${wanted.get("color")}`);
}

function draw() {
  roll(box, state.text, unstable ? state.hypothesis : "", layout);
  box.classList.remove("gone");
  clearTimeout(hiding);
  hiding = setTimeout(() => box.classList.add("gone"), hold);
}

function connect() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  const pulse = setInterval(() => socket.readyState === 1 && socket.send('{"type":"ping"}'), 15_000);
  const target = wanted.get("target") ? { target: wanted.get("target") } : {};
  const channel = wanted.get("channel") ?? "";
  socket.onopen = () => socket.send(JSON.stringify({ type: "watch", channel, ...target, token }));
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "ready") {
      state.reset();
      draw();
    }
    else if (message.type === "error") box.textContent = message.code === "busy" ? "" : message.message;
    else if (["write", "retract", "hypothesis", "snapshot", "end", "transcript", "switched"].includes(message.type)) {
      if (!state.apply(message)) socket.close();
      else if (message.type !== "transcript") draw();
    }
  };
  socket.onclose = () => {
    clearInterval(pulse);
    state.reset();
    setTimeout(connect, 2000);
  };
}

connect();
