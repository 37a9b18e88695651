/** What an answer means: do it, or hold. Whatever is not a fresh acceptance means hold. */

import { REASONS } from "./words.js";

/** @typedef {import("./gateway.js").Came} Came */
/**
 * @typedef {object} Verdict
 * @property {string | null} command to be done; null means hold
 * @property {string} why in words
 * @property {string} detail the gateway's own words, or none
 * @property {number} validFor milliseconds from now for which the command may be done
 * @property {any} answer the decision as the gateway gave it; null where it gave none
 * @property {number} waited milliseconds since sending
 */

/**
 * @param {Came} came
 * @returns {Verdict}
 */
export function judge({ status, body, waited }) {
  const hold = { command: null, validFor: 0, answer: null, waited, detail: "" };
  if (status === 0) return { ...hold, why: "No answer came from the gateway in time." };
  const detail = typeof body?.detail === "string" ? body.detail : "";
  if (status !== 200) {
    const title = typeof body?.title === "string" ? body.title : "The gateway answered with an error";
    return { ...hold, detail, why: `${title} (${status}).` };
  }
  if (body?.decision === "abstain" && typeof body.reason === "string") {
    return { ...hold, detail, answer: body, why: REASONS[body.reason] ?? `The gateway abstains: ${body.reason}.` };
  }
  if (!isAcceptance(body)) return { ...hold, why: "The answer can't be understood." };
  const validFor = body.valid_for_ms - waited;
  if (validFor <= 0) {
    return { ...hold, detail, answer: body, why: `An acceptance of “${body.command}” came too late: void.` };
  }
  return { command: body.command, why: REASONS.ok, detail, validFor, answer: body, waited };
}

/** @param {any} body */
function isAcceptance(body) {
  return (
    body?.decision === "accept" &&
    body.reason === "ok" &&
    typeof body.command === "string" &&
    body.command !== "" &&
    Number.isFinite(body.valid_for_ms)
  );
}
