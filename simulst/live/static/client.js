// A client of the websocket protocol (docs/protocol.md): keeps the text in step with the server, survives broken
// connections, loses no audio. Fires "change" (text, hypothesis, transcript), "lag", "state", "problem", "end", "export".

const RETRIES_MS = [250, 500, 1000, 2000, 4000, 8000];
const GIVE_UP_MS = 120_000;
const QUIET_MS = 15_000;
const SEND_AHEAD_BYTES = 1 << 20;

export function cutEnd(text, count) {
  // Positions on the wire count code points; a pair of surrogates is one.
  let end = text.length;
  for (let left = count; left > 0 && end > 0; left -= 1) {
    end -= end > 1 && /[\uDC00-\uDFFF]/.test(text[end - 1]) && /[\uD800-\uDBFF]/.test(text[end - 2]) ? 2 : 1;
  }
  return text.slice(0, end);
}

export function length(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

export class TextState {
  // What the events so far add up to.
  constructor() {
    this.reset();
  }

  reset() {
    this.seq = 0;
    this.text = "";
    this.length = 0;
    this.transcript = "";
    this.hypothesis = "";
    this.marks = []; // { at: index into text, time: audio clock }
  }

  // False where an event is missing before this one.
  apply(message) {
    if (message.type === "hypothesis") {
      this.hypothesis = message.text;
      return true;
    }
    if (message.type === "snapshot") {
      Object.assign(this, { seq: message.seq, text: message.text, transcript: message.transcript });
      this.length = length(message.text);
      this.marks = [{ at: 0, time: 0 }];
      return true;
    }
    if (message.seq <= this.seq) return true;
    if (message.seq !== this.seq + 1) return false;
    this.seq = message.seq;
    if (message.type === "retract") {
      this.text = cutEnd(this.text, message.count);
      this.length = message.length;
      while (this.marks.length && this.marks.at(-1).at >= this.text.length) this.marks.pop();
    } else if (message.type === "write") {
      if (message.start !== this.length) return false;
      this.marks.push({ at: this.text.length, time: message.audio_s });
      this.text += message.text;
      this.length += length(message.text);
    } else if (message.type === "transcript") {
      this.transcript = cutEnd(this.transcript, length(this.transcript) - message.start) + message.text;
    }
    return true;
  }
}

export class LiveClient extends EventTarget {
  constructor({ token = "", server = location.origin } = {}) {
    super();
    this.url = `${server.replace(/^http/, "ws")}/ws`;
    this.token = token;
    this.states = new Map([["", new TextState()]]); // by target; "" where a stream has one that it does not name
    this.socket = null;
    this.clear();
    setInterval(() => this.say({ type: "ping", id: 0 }), QUIET_MS);
  }

  clear() {
    this.options = null;
    this.session = null;
    this.unsent = []; // blocks the server has not confirmed: { first, samples }
    this.nextBlock = 0; // index into unsent of the first block this connection has not sent
    this.produced = 0; // sample frames handed to send()
    this.ending = false;
    this.over = true;
    this.failures = 0;
    this.brokenSince = 0;
    this.done = new Set(); // targets that have ended
  }

  // The text in the first target.
  get state() {
    return this.states.values().next().value;
  }

  reset() {
    for (const state of this.states.values()) state.reset();
  }

  get running() {
    return !this.over;
  }

  get connected() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  start(options) {
    this.clear();
    this.states = new Map((options.targets ?? [""]).map((target) => [target, new TextState()]));
    this.options = options;
    this.over = false;
    this.announce("connecting");
    this.greet();
  }

  greet() {
    if (this.connected) this.hello();
    else this.connect();
  }

  hello() {
    const common = { token: this.token };
    const positions = [...this.states].map(([target, { seq }]) => [target, seq]);
    const seq = this.options.targets ? Object.fromEntries(positions) : this.state.seq;
    if (this.session) this.say({ type: "resume", session: this.session, seq, ...common });
    else this.say({ type: "hello", version: 1, format: "s16le", ...this.options, ...common });
  }

  connect() {
    if (this.socket) {
      this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
      this.socket.close(1000);
    }
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.ready = false;
    socket.onopen = () => this.hello();
    socket.onmessage = ({ data }) => this.take(JSON.parse(data));
    socket.onclose = () => {
      if (this.socket === socket) this.lost();
    };
  }

  lost() {
    this.socket = null;
    this.ready = false;
    if (this.over) return;
    const now = performance.now();
    this.brokenSince ||= now;
    if (now - this.brokenSince > GIVE_UP_MS) {
      this.fail("The server cannot be reached.");
      return;
    }
    this.announce("reconnecting");
    const wait = RETRIES_MS[Math.min(this.failures, RETRIES_MS.length - 1)];
    this.failures += 1;
    setTimeout(() => !this.over && !this.socket && this.connect(), wait);
  }

  fail(message) {
    this.over = true;
    this.fire("problem", { message });
    this.announce("idle");
    this.fire("end", {});
  }

  take(message) {
    switch (message.type) {
      case "ready":
        this.session = message.session;
        this.begin(0);
        this.fire("ready", message);
        break;
      case "resumed":
        this.begin(message.received);
        break;
      case "switched":
        this.fire("ready", message);
        this.follow(message);
        break;
      case "lag":
        this.confirm(message.received);
        this.fire("lag", message);
        break;
      case "error":
        this.complain(message);
        break;
      case "export":
        this.fire("export", message);
        break;
      case "pong":
        break;
      default:
        this.follow(message);
    }
  }

  follow(message) {
    const target = this.options.targets ? message.target : "";
    const state = this.states.get(target);
    if (!state.apply(message)) {
      this.reset(); // a gap: fetch everything again
      this.socket?.close(4000, "gap");
      return;
    }
    if (message.type === "end") {
      state.hypothesis = "";
      this.done.add(target);
    }
    this.fire("change", message);
    if (message.type === "end" && this.done.size === this.states.size) {
      this.over = true;
      this.announce("idle");
      this.fire("end", message);
    }
  }

  complain(message) {
    if (message.code === "unknown_session" && !this.over) {
      this.fire("expired", {}); // go on in a new one
      this.session = null;
      this.reset();
      this.rebase();
      this.fire("problem", { message: "The connection was lost for too long; a new session continues." });
      return;
    }
    this.fire("problem", message);
    if (message.fatal && message.code !== "shutting_down" && !this.over) {
      this.over = true;
      this.announce("idle");
      this.fire("end", {});
    }
  }

  begin(received) {
    this.ready = true;
    this.failures = 0;
    this.brokenSince = 0;
    this.nextBlock = 0;
    this.confirm(received);
    this.announce(this.ending ? "finishing" : "running");
    this.flush();
  }

  rebase() {
    this.produced = 0;
    for (const block of this.unsent) {
      block.first = this.produced;
      this.produced += block.samples.length;
    }
    this.nextBlock = 0;
  }

  confirm(received) {
    let done = 0;
    while (done < this.unsent.length) {
      const { first, samples } = this.unsent[done];
      if (first + samples.length > received) break;
      done += 1;
    }
    this.unsent.splice(0, done);
    this.nextBlock = Math.max(0, this.nextBlock - done);
    const partly = this.unsent[0];
    if (!this.ready || !partly || partly.first >= received || this.nextBlock > 0) return;
    partly.samples = partly.samples.slice(received - partly.first);
    partly.first = received;
  }

  // Resolves when there is room for more.
  async send(samples) {
    if (this.over || this.ending) return;
    this.unsent.push({ first: this.produced, samples });
    this.produced += samples.length;
    this.flush();
    while (!this.over && (this.nextBlock < this.unsent.length || this.socket?.bufferedAmount > SEND_AHEAD_BYTES)) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      this.flush();
    }
  }

  flush() {
    if (!this.ready) return;
    while (this.nextBlock < this.unsent.length && this.socket.bufferedAmount <= SEND_AHEAD_BYTES) {
      this.socket.send(this.unsent[this.nextBlock].samples);
      this.nextBlock += 1;
    }
    if (this.ending && this.nextBlock === this.unsent.length) this.say({ type: "end" });
    else if (this.ending) setTimeout(() => this.flush(), 50);
  }

  end() {
    if (this.over || this.ending) return;
    this.ending = true;
    this.announce("finishing");
    this.flush();
  }

  // Give up what is not translated yet.
  cancel() {
    this.over = true;
    this.socket?.close(1000);
    this.announce("idle");
  }

  switch(settings) {
    Object.assign(this.options, settings);
    this.say({ type: "switch", ...settings });
  }

  export(format, target = "") {
    this.say({ type: "export", format, ...(target ? { target } : {}) });
  }

  say(message) {
    if (this.connected) this.socket.send(JSON.stringify(message));
  }

  announce(state) {
    this.fire("state", { state });
  }

  fire(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
