/** Hold to talk: what is heard between press and release becomes one clip; nothing else is captured or sent. */

import { listening } from "./announce.js";
import { part } from "./elements.js";
import { whileHeld } from "./hold.js";
import { NoMicrophone, prepare, record } from "./microphone.js";
import { wav } from "./wav.js";

/** @typedef {import("./microphone.js").Recording} Recording */

const button = part("talk", HTMLButtonElement);
const sign = part("talk-mark", HTMLElement);
const indicator = part("recording", HTMLElement);
const elapsed = part("recording-seconds", HTMLElement);
const level = part("level", HTMLMeterElement);

/**
 * @param {object} to
 * @param {() => number | null} to.longest seconds that the gateway takes; null while nothing can be sent
 * @param {(clip: ArrayBuffer) => void} to.send
 * @param {(words: string) => void} to.say
 */
export function talk({ longest, send, say }) {
  /** @type {Recording | null} */
  let recording = null;
  let isHeld = false;
  let isOpening = false;

  const shows = (/** @type {boolean} */ is) => {
    indicator.classList.toggle("on", is);
    button.classList.toggle("on", is);
    sign.textContent = is ? "●" : "○";
    level.value = 0;
    elapsed.textContent = "0.0 s";
  };
  const discard = (/** @type {string} */ words) => {
    isHeld = false;
    recording?.discard();
    recording = null;
    shows(false);
    listening(false);
    say(words);
  };
  const heard = (/** @type {number} */ seconds, /** @type {number} */ peak) => {
    if (!recording) return;
    elapsed.textContent = `${seconds.toFixed(1)} s`;
    level.value = peak;
    const most = longest() ?? 0;
    if (seconds > most) discard(`Longer than ${most} s, so thrown away. Say one command a press.`);
  };

  const press = async () => {
    if (isOpening) return;
    if (longest() === null) {
      say("The gateway has not said yet what it serves: nothing can be sent.");
      return;
    }
    isHeld = isOpening = true;
    say(""); // nothing is said aloud from here on: the microphone would hear it
    listening(true);
    try {
      await prepare(); // asks the gateway, which may be slow or gone: nothing is open yet
      const opened = isHeld ? await record(heard, () => discard("The microphone is gone: thrown away.")) : null;
      if (opened && isHeld) {
        recording = opened;
        shows(true);
      } else {
        opened?.discard();
        say("The microphone is ready. Hold the button while you speak.");
      }
    } catch (error) {
      if (!(error instanceof NoMicrophone)) throw error;
      isHeld = false;
      say(error.message);
    } finally {
      isOpening = false;
      if (!recording) listening(false);
    }
  };
  const release = async () => {
    isHeld = false;
    if (!recording) return;
    const ended = recording;
    recording = null;
    shows(false);
    const finishing = ended.finish(); // the microphone is closed
    listening(false);
    const samples = await finishing;
    if (samples.length) send(wav(samples, ended.sampleRate));
    else say("Nothing was recorded: hold the button while you speak.");
  };

  whileHeld(button, {
    onPress: () => void press(),
    onRelease: () => void release(),
    onCancel: () => (recording ? discard("Thrown away: nothing was sent.") : (isHeld = false)),
    onClick: () => say("Hold the button, the space bar or Enter while you speak; or choose a file."),
  });
}
