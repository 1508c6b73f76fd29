// Mixes whatever arrives to mono and posts 16-bit blocks of 100 ms; "flush" posts the rest.
class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = Math.round(sampleRate / 10);
    this.reset();
    this.port.onmessage = () => {
      this.post();
      this.port.postMessage({ flushed: true });
    };
  }

  reset() {
    this.block = new Int16Array(this.size);
    this.filled = 0;
    this.peak = 0;
  }

  post() {
    if (!this.filled) return;
    const samples = this.block.slice(0, this.filled);
    this.port.postMessage({ samples, peak: this.peak }, [samples.buffer]);
    this.reset();
  }

  process(inputs) {
    const channels = inputs[0];
    if (!channels.length) return true;
    for (let i = 0; i < channels[0].length; i += 1) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      const value = Math.max(-1, Math.min(1, sum / channels.length));
      this.peak = Math.max(this.peak, Math.abs(value));
      this.block[this.filled] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
      this.filled += 1;
      if (this.filled === this.size) this.post();
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
