/** Reasons and numbers in words. */

/** @type {Record<string, string>} Each reason of a decision. */
export const REASONS = {
  ok: "Accepted.",
  low_confidence: "Not sure enough: the leading command's confidence is below the threshold.",
  smoothing_tie: "Not sure enough: under noise, the leading command doesn't win clearly over the next.",
  disagreement: "The parts of the defense accept different commands.",
  not_a_command: "This sounds like no command that the gateway knows.",
  no_speech: "No speech was heard.",
  too_short: "The clip is too short.",
  too_long: "The clip is too long.",
  clipped: "The clip is overdriven: speak more softly, or farther away.",
  deadline: "The decision was not ready in time.",
  overloaded: "The gateway is busy.",
  not_ready: "The gateway is not ready.",
};

/** @param {number} share in [0, 1] */
export const percent = (share) => `${(100 * share).toFixed(1)} %`;
/** @param {number} ms */
export const milliseconds = (ms) => `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
/** @param {number} ms */
export const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
/** Three figures: 0.001, 0.0125, 3.1e-30. @param {number} number */
export const short = (number) => String(Number(number.toPrecision(3)));

const BAR = 20; // signs
/** A share as a bar of text. @param {number} share in [0, 1] */
export function bar(share) {
  const full = Math.round(BAR * share);
  return "█".repeat(full) + "░".repeat(BAR - full);
}

/** @type {[string, string, string][]} Field of a certificate, its name, and what an empty one means. */
const SETTINGS = [
  ["sigma", "σ, the noise", ""],
  ["error_alpha", "error α", ""],
  ["draws", "draws", ""],
  ["p_value", "p", ""],
  ["confidence_threshold", "confidence threshold", ""],
  ["radius_l2", "radius (L2)", "not certified"],
];

/**
 * What a certificate says, as names and values. The radius belongs to smoothing, whether it is known or not.
 *
 * @param {Record<string, any>} certificate
 * @returns {[string, string][]}
 */
export function certified(certificate) {
  return SETTINGS.flatMap(([field, name, empty]) => {
    const value = certificate[field];
    if (typeof value === "number") return [[name, field === "draws" ? String(value) : short(value)]];
    return empty && typeof certificate.sigma === "number" ? [[name, empty]] : [];
  });
}
