/** The microphone: opened for one recording, and closed with it. */

const HIGHEST_RATE = 48_000; // Hertz; the gateway takes 8 to 48 kHz
const PREPARING_MS = 5000;
const STARTING_MS = 2000;
// What the speaker's own browser changes, no defense was measured on.
const AS_IT_IS = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

let open = 0; // recordings

/** Why there is no recording, in words for who wanted one. */
export class NoMicrophone extends Error {}

/** One recording under way. */
export class Recording {
  /** @type {Float32Array[]} */
  #blocks = [];
  #samples = 0;
  /** @type {(() => void) | undefined} */
  #finished;

  /**
   * @param {MediaStream} stream
   * @param {AudioContext} context
   * @param {(seconds: number, peak: number) => void} onHeard after each block: what there is by now, its loudest sample
   * @param {() => void} onLost when the microphone goes away
   */
  constructor(stream, context, onHeard, onLost) {
    this.stream = stream;
    this.context = context;
    this.source = context.createMediaStreamSource(stream);
    this.node = new AudioWorkletNode(context, "capture", {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: "explicit",
    });
    this.node.port.onmessage = ({ data }) => {
      if (data === null) {
        this.#finished?.();
        return;
      }
      this.#blocks.push(data);
      this.#samples += data.length;
      onHeard(this.seconds, Math.max(...data.map(Math.abs)));
    };
    for (const track of stream.getTracks()) track.onended = onLost;
    this.source.connect(this.node);
    open += 1;
  }

  get sampleRate() {
    return this.context.sampleRate;
  }

  get seconds() {
    return this.#samples / this.sampleRate;
  }

  /** Close the microphone and keep what was heard; nothing, where the end of it doesn't come. */
  async finish() {
    this.#close();
    const all = new Promise((resolve) => {
      this.#finished = () => resolve(undefined);
      this.node.port.postMessage("finish");
    });
    try {
      await within(all, STARTING_MS);
    } catch {
      [this.#blocks, this.#samples] = [[], 0];
    }
    this.#disconnect();
    const samples = new Float32Array(this.#samples);
    let at = 0;
    for (const block of this.#blocks) {
      samples.set(block, at);
      at += block.length;
    }
    return samples;
  }

  /** Close the microphone and forget what was heard. */
  discard() {
    this.#close();
    this.node.port.postMessage("finish");
    this.#disconnect();
    this.#blocks = [];
  }

  #close() {
    for (const track of this.stream.getTracks()) track.stop();
  }

  #disconnect() {
    this.source.disconnect();
    open -= 1;
    if (!open) void this.context.suspend(); // the next recording may have begun, in the same context
  }
}

/** @type {Promise<AudioContext> | undefined} */
let prepared;

/**
 * What comes of it, or an error where nothing does in time.
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {number} ms
 * @returns {Promise<T>}
 */
function within(promise, ms) {
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`nothing came of it within ${ms / 1000} s`)), ms);
    promise.then(resolve, reject);
  });
}

/** An audio context that knows how to capture; it is kept, and sleeps between recordings. */
async function makeContext() {
  try {
    const usual = new AudioContext();
    const context = usual.sampleRate > HIGHEST_RATE ? new AudioContext({ sampleRate: HIGHEST_RATE }) : usual;
    if (context !== usual) await usual.close();
    await context.audioWorklet.addModule("/console/static/capture.js");
    return context;
  } catch (error) {
    prepared = undefined; // so that it is tried anew
    throw error;
  }
}

/**
 * What is needed before the microphone opens.
 *
 * @throws {NoMicrophone}
 */
export async function prepare() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new NoMicrophone(
      "A browser gives the microphone only to pages over HTTPS, or from its own machine. " +
        "Serve the gateway with TLS, or choose a file.",
    );
  }
  try {
    return await within((prepared ??= makeContext()), PREPARING_MS);
  } catch (error) {
    throw new NoMicrophone(inWords(error));
  }
}

/**
 * Open the microphone; the browser asks its user where it has to.
 *
 * @param {(seconds: number, peak: number) => void} onHeard
 * @param {() => void} onLost
 * @returns {Promise<Recording>}
 * @throws {NoMicrophone}
 */
export async function record(onHeard, onLost) {
  const context = await prepare();
  /** @type {MediaStream | undefined} */
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: AS_IT_IS });
    await within(context.resume(), STARTING_MS); // while it waits, the microphone is open
    return new Recording(stream, context, onHeard, onLost);
  } catch (error) {
    for (const track of stream?.getTracks() ?? []) track.stop();
    throw new NoMicrophone(inWords(error));
  }
}

/** @param {unknown} error */
function inWords(error) {
  switch (error instanceof DOMException ? error.name : "") {
    case "NotAllowedError":
    case "SecurityError":
      return "The browser may not use the microphone. Allow it for this page (beside the address), or choose a file.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "There is no microphone. Connect one, or choose a file.";
    case "NotReadableError":
      return "The microphone can't be opened. Another program may be using it; end that, or choose a file.";
    default:
      return `The recording can't start (${String(error)}). Try again, or choose a file.`;
  }
}
