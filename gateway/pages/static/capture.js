/** Runs on the audio thread: hands the page what the microphone hears, until it is told to finish. */

const BLOCK = 1024; // samples a message: 21 ms at 48 kHz

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(BLOCK);
    this.filled = 0;
    this.isFinished = false;
    this.port.onmessage = () => {
      this.isFinished = true;
      this.port.postMessage(this.block.slice(0, this.filled));
      this.port.postMessage(null); // there is no more
    };
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    if (this.isFinished) return false;
    const samples = inputs[0]?.[0]; // none while nothing is connected
    for (const sample of samples ?? []) {
      this.block[this.filled++] = sample;
      if (this.filled === BLOCK) {
        this.port.postMessage(this.block.slice());
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("capture", Capture);
