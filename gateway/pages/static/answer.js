/** What an answer means: do it, or hold. Whatever is not a fresh acceptance means hold. */

import { REASONS } from "./words.js";

const LONGEST_VALID_MS = 60_000; // as a robot's client has it: whatever a gateway says
const UNKNOWN = "unknown"; // what is no command is called; nobody may do it

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

/** @type {Verdict} */
export const NOT_UNDERSTOOD = {
  command: null,
  why: "The answer can't be understood.",
  detail: "",
  validFor: 0,
  answer: null,
  waited: 0,
};

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
  if (!isAcceptance(body)) return { ...NOT_UNDERSTOOD, waited };
  const validFor = Math.min(body.valid_for_ms, LONGEST_VALID_MS) - waited;
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
    !["", UNKNOWN].includes(body.command.trim()) &&
    Number.isFinite(body.valid_for_ms)
  );
}
