/** The decision, large, with what vouches for it; an acceptance runs out before one's eyes. */

import { announce } from "./announce.js";
import { make, part } from "./elements.js";
import { clock } from "./gateway.js";
import { bar, certified, milliseconds, percent, seconds } from "./words.js";

/** @typedef {import("./answer.js").Verdict} Verdict */

const TICK_MS = 100;
const VOID = "Void by now: hold.";

const place = part("decision", HTMLElement);
/** @type {ReturnType<typeof setInterval> | undefined} */
let counting;

/** @param {Verdict} verdict */
export function show(verdict) {
  clearInterval(counting);
  const validity = make("p", { id: "validity" });
  const big = headline(verdict);
  const why = make("p", { id: "why" }, verdict.why);
  place.replaceChildren(big, validity, why, ...details(verdict));
  announce(sentence(verdict));
  if (verdict.command === null) {
    validity.textContent = "Start no new motion.";
    return;
  }
  const age = clock();
  const tick = () => {
    const left = verdict.validFor - age();
    validity.textContent = left > 0 ? `valid for ${seconds(left)}` : VOID;
    if (left > 0) return;
    clearInterval(counting);
    big.replaceWith(make("p", { class: "verdict void" }, mark("○"), make("s", {}, verdict.command ?? ""), " void"));
    why.textContent = "It was accepted, and its time is over.";
    announce(VOID);
  };
  counting = setInterval(tick, TICK_MS);
  tick();
}

/** @param {Verdict} verdict */
function headline({ command }) {
  return command === null
    ? make("p", { class: "verdict hold" }, mark("■"), "Hold")
    : make("p", { class: "verdict accept" }, mark("✔"), command);
}

/** @param {string} sign */
const mark = (sign) => make("span", { class: "sign", "aria-hidden": "true" }, sign);

/** Said once, in a sentence: a screen reader would read each tick of what changes. @param {Verdict} verdict */
function sentence({ command, why, detail, validFor, answer }) {
  const sure = typeof answer?.confidence === "number" ? `, confidence ${percent(answer.confidence)}` : "";
  return command === null
    ? `Hold. ${why} ${answer ? "" : detail}`
    : `Accepted: ${command}${sure}, valid for ${seconds(validFor)}.`;
}

/** @param {Verdict} verdict @returns {HTMLElement[]} */
function details({ answer, detail, waited }) {
  const said = detail ? [make("p", { class: "how" }, detail)] : [];
  if (!answer) return said;
  const took = Object.entries(answer.timings_ms ?? {}).map(([stage, ms]) => `${stage} ${milliseconds(ms)}`);
  return [
    ...said,
    ...(answer.top?.length ? [candidates(answer.top)] : []),
    facts([
      ...(typeof answer.confidence === "number" ? [pair("confidence", percent(answer.confidence))] : []),
      ...(answer.certificate ? [pair("defense", answer.certificate.defense), ...certified(answer.certificate)] : []),
      ...(answer.audio ? [pair("heard", heard(answer.audio))] : []),
      pair("time", [...took, `there and back ${milliseconds(waited)}`].join(", ")),
      pair("request", answer.request_id),
    ]),
    ...(answer.parts?.length ? [parts(answer.parts)] : []),
  ];
}

/** @param {{seconds: number, sample_rate: number}} audio */
const heard = ({ seconds: length, sample_rate: rate }) => `${length.toFixed(2)} s at ${rate} Hz`;

/** @param {string} name @param {string} value @returns {[string, string]} */
const pair = (name, value) => [name, value];

/** @param {[string, string][]} pairs */
function facts(pairs) {
  return make("dl", {}, ...pairs.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

/** @param {{command: string, share: number}[]} top */
function candidates(top) {
  const rows = top.map(({ command, share }) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, command),
      make("td", { class: "bar", "aria-hidden": "true" }, bar(share)),
      make("td", { class: "number" }, percent(share)),
    ),
  );
  const caption = make("caption", {}, "What it may have been");
  return make("table", { class: "candidates" }, caption, make("tbody", {}, ...rows));
}

/** Of a combined defense; a part's acceptance is none. @param {any[]} of */
function parts(of) {
  const items = of.map((one) => {
    const numbers = one.certificate ? certified(one.certificate).map(([name, value]) => `${name} ${value}`) : [];
    const ends = one.detail || one.reason;
    return make("li", {}, make("b", {}, one.defense), `: ${[ends, ...numbers].join(", ")}`);
  });
  return make("div", {}, make("p", {}, "Its parts; only the decision above counts:"), make("ul", {}, ...items));
}
