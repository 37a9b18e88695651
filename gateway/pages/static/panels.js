/** The fairness panels, as the gateway renders them for its own page. */

import { part } from "./elements.js";

/** @typedef {import("./gateway.js").Came} Came */

const place = part("panels", HTMLElement);
const status = part("panels-status", HTMLElement);
/** The one way by which text becomes markup here: the gateway's template escapes the names in it. */
const policy = /** @type {any} */ (globalThis).trustedTypes?.createPolicy("panels", {
  createHTML: (/** @type {string} */ html) => html,
});
let shown = "";

/** @param {Came} came */
export function showPanels({ status: code, body }) {
  if (code === 200 && typeof body === "string") {
    status.textContent = "";
    if (body !== shown) replace(body);
    shown = body;
  } else if (code === 403) {
    status.textContent = "This key doesn't reach the figures; one of the role metrics or operator does.";
  } else {
    const why = code === 0 ? "the gateway doesn't answer" : (body?.title ?? `status ${code}`);
    status.textContent = `No new figures: ${why}.${shown ? " What stands here is older." : ""}`;
  }
}

/** What its reader has opened stays open, and what they are at is found again. @param {string} html */
function replace(html) {
  const opened = new Set([...place.querySelectorAll("details[open] > summary")].map((summary) => summary.textContent));
  const focused = place.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  place.innerHTML = policy ? policy.createHTML(html) : html;
  for (const summary of place.querySelectorAll("summary")) {
    if (opened.has(summary.textContent)) summary.parentElement?.setAttribute("open", "");
  }
  if (focused === null) return;
  const again = [...place.querySelectorAll("summary, [tabindex]")].find((element) => nameOf(element) === focused);
  if (again instanceof HTMLElement) again.focus({ preventScroll: true });
}

/** @param {Element | null} element */
const nameOf = (element) => element?.getAttribute("aria-label") ?? element?.textContent ?? "";
