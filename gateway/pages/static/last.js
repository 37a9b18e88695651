/** The last decisions, in this page's memory only. */

import { make, part } from "./elements.js";
import { milliseconds, percent } from "./words.js";

const KEPT = 20;

const list = part("last", HTMLElement);
const none = part("last-none", HTMLElement);

/**
 * @param {import("./answer.js").Verdict} verdict
 * @param {string} from what was sent
 * @param {string} speaker an id, or nothing
 */
export function remember({ command, why, answer, waited }, from, speaker) {
  none.hidden = true;
  const now = new Date();
  const about = [
    ...(typeof answer?.confidence === "number" ? [`confidence ${percent(answer.confidence)}`] : []),
    milliseconds(waited),
    from,
    ...(speaker ? [speaker] : []),
  ];
  list.prepend(
    make(
      "li",
      {},
      make("time", { datetime: now.toISOString() }, now.toLocaleTimeString()),
      " ",
      make("b", {}, command === null ? "■ Hold" : `✔ ${command}`),
      ` ${command === null ? why : "Accepted."} `,
      make("span", { class: "how" }, about.join(", ")),
    ),
  );
  while (list.children.length > KEPT) list.lastElementChild?.remove();
}
