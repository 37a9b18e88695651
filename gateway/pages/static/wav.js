/** Samples as a WAV file: 16 bits, mono. */

const HEADER_BYTES = 44;
const FULL_SCALE = 32767;

/**
 * @param {Float32Array} samples raw amplitude; what lies outside [-1, 1] is cut there
 * @param {number} sampleRate Hertz
 * @returns {ArrayBuffer}
 */
export function wav(samples, sampleRate) {
  const data = new DataView(new ArrayBuffer(HEADER_BYTES + 2 * samples.length));
  const text = (/** @type {number} */ at, /** @type {string} */ word) =>
    [...word].forEach((letter, i) => data.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  data.setUint32(4, data.byteLength - 8, true);
  text(8, "WAVEfmt ");
  data.setUint32(16, 16, true); // bytes of what describes the format
  data.setUint16(20, 1, true); // PCM
  data.setUint16(22, 1, true); // channels
  data.setUint32(24, sampleRate, true);
  data.setUint32(28, 2 * sampleRate, true); // bytes a second
  data.setUint16(32, 2, true); // bytes a frame
  data.setUint16(34, 16, true); // bits a sample
  text(36, "data");
  data.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, i) =>
    data.setInt16(HEADER_BYTES + 2 * i, Math.round(FULL_SCALE * Math.max(-1, Math.min(1, sample))), true),
  );
  return data.buffer;
}
