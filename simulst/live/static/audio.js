// Where sound comes from. Every source has sampleRate, pace, run(onBlock) that resolves at the end of the sound, and stop().
// onBlock(Int16Array, peak) may return a promise: a source that is not live waits for it.

const BLOCK_S = 1;

function named(error, what) {
  const sentences = {
    NotAllowedError: `The browser is not allowed to use ${what}.`,
    NotFoundError: `${what[0].toUpperCase()}${what.slice(1)} was not found.`,
    NotReadableError: `Another program is using ${what}.`,
    OverconstrainedError: `That microphone is gone; choose another one.`,
  };
  return new Error(sentences[error.name] ?? `${what[0].toUpperCase()}${what.slice(1)} cannot be used: ${error.message}`);
}

function devices() {
  if (!navigator.mediaDevices) {
    throw new Error("Browsers give sound to secure pages only: open this page through localhost or https.");
  }
  return navigator.mediaDevices;
}

export async function microphones() {
  if (!navigator.mediaDevices) return [];
  const all = await navigator.mediaDevices.enumerateDevices();
  return all.filter((one) => one.kind === "audioinput" && one.deviceId && one.deviceId !== "default");
}

class Recording {
  // Sound that passes through an AudioContext in real time.
  constructor(context, node, { stopTracks = [], element = null } = {}) {
    this.context = context;
    this.node = node;
    this.stopTracks = stopTracks;
    this.element = element;
    this.sampleRate = context.sampleRate;
    this.pace = "live";
    this.finish = null;
  }

  async run(onBlock) {
    await this.context.audioWorklet.addModule("/worklet.js");
    const recorder = new AudioWorkletNode(this.context, "recorder", { numberOfOutputs: 0 });
    const done = new Promise((resolve) => {
      this.finish = resolve;
    });
    const flushed = new Promise((resolve) => {
      recorder.port.onmessage = ({ data }) => (data.flushed ? resolve() : onBlock(data.samples, data.peak));
    });
    this.node.connect(recorder);
    await this.context.resume();
    if (this.element) {
      this.element.onended = () => this.stop();
      this.element.onerror = () => this.stop();
      await this.element.play();
    }
    for (const track of this.stopTracks) track.onended = () => this.stop();
    await done;
    this.element?.pause();
    recorder.port.postMessage("flush");
    await Promise.race([flushed, new Promise((resolve) => setTimeout(resolve, 500))]);
    for (const track of this.stopTracks) track.stop();
    this.node.disconnect();
    await this.context.close();
  }

  stop() {
    this.finish?.();
  }
}

export async function fromMicrophone(deviceId) {
  const wanted = { echoCancellation: false, noiseSuppression: false, autoGainControl: true };
  if (deviceId) wanted.deviceId = { exact: deviceId };
  let stream;
  try {
    stream = await devices().getUserMedia({ audio: wanted });
  } catch (error) {
    throw error.name ? named(error, "the microphone") : error;
  }
  const context = new AudioContext();
  return new Recording(context, context.createMediaStreamSource(stream), { stopTracks: stream.getTracks() });
}

export async function fromTab() {
  let stream;
  if (!devices().getDisplayMedia) throw new Error("This browser cannot share the sound of a tab.");
  try {
    stream = await devices().getDisplayMedia({ video: true, audio: { suppressLocalAudioPlayback: false } });
  } catch (error) {
    throw error.name ? named(error, "the sound of a tab") : error;
  }
  if (!stream.getAudioTracks().length) {
    for (const track of stream.getTracks()) track.stop();
    throw new Error("No sound was shared: choose a tab and tick “share audio”.");
  }
  const context = new AudioContext();
  return new Recording(context, context.createMediaStreamSource(stream), { stopTracks: stream.getTracks() });
}

export async function fromFile(file, aloud) {
  if (aloud) {
    const element = new Audio(URL.createObjectURL(file));
    await new Promise((resolve, reject) => {
      element.oncanplay = resolve;
      element.onerror = () => reject(new Error(`${file.name} is not audio that this browser can play.`));
    });
    const context = new AudioContext();
    const node = context.createMediaElementSource(element);
    node.connect(context.destination);
    return new Recording(context, node, { element });
  }
  return new Decoded(file, await decode(file));
}

async function decode(file) {
  try {
    return await new OfflineAudioContext(1, 1, 16000).decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new Error(`${file.name} is not audio that this browser can decode.`);
  }
}

class Decoded {
  // A file as fast as the server takes it.
  constructor(file, buffer) {
    this.buffer = buffer;
    this.sampleRate = buffer.sampleRate;
    this.pace = "file";
    this.stopped = false;
  }

  async run(onBlock) {
    const { length, numberOfChannels } = this.buffer;
    const channels = Array.from({ length: numberOfChannels }, (_, i) => this.buffer.getChannelData(i));
    const size = Math.round(BLOCK_S * this.sampleRate);
    for (let start = 0; start < length && !this.stopped; start += size) {
      const block = new Int16Array(Math.min(size, length - start));
      let peak = 0;
      for (let i = 0; i < block.length; i += 1) {
        let sum = 0;
        for (const channel of channels) sum += channel[start + i];
        const value = Math.max(-1, Math.min(1, sum / numberOfChannels));
        peak = Math.max(peak, Math.abs(value));
        block[i] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
      }
      await onBlock(block, peak);
    }
  }

  stop() {
    this.stopped = true;
  }
}
