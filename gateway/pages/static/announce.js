/** What is said aloud to who doesn't see the page. Nothing is while the microphone is open, which would hear it. */

import { part } from "./elements.js";

const place = part("announcement", HTMLElement);
let isListening = false;
/** @type {string | null} the last that there was to say meanwhile */
let waiting = null;

/** @param {string} words */
export function announce(words) {
  if (isListening) waiting = words;
  else place.textContent = words;
}

/** Say nothing from now on; or, once the microphone is closed, what waited. @param {boolean} is */
export function listening(is) {
  isListening = is;
  if (is || waiting === null) return;
  place.textContent = waiting;
  waiting = null;
}
