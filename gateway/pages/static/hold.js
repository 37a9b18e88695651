/** A button that means something only while it is held: by a pointer, a finger, the space bar or Enter. */

/**
 * @typedef {object} Held
 * @property {() => void} onPress
 * @property {() => void} onRelease let go where it was pressed
 * @property {() => void} onCancel Escape, or the page lost sight of who holds it
 * @property {() => void} onClick pressed by something that can't hold, such as a screen reader's own command
 */

/**
 * @param {HTMLElement} button
 * @param {Held} held
 */
export function whileHeld(button, { onPress, onRelease, onCancel, onClick }) {
  /** @type {string | null} what holds it; a second finger or key changes nothing */
  let holder = null;
  let wasHeld = false;

  const press = (/** @type {string} */ by) => {
    if (holder !== null) return;
    holder = by;
    wasHeld = true;
    onPress();
  };
  const end = (/** @type {string | null} */ by, /** @type {() => void} */ how) => {
    if (holder === null || (by !== null && by !== holder)) return;
    holder = null;
    how();
  };

  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    button.setPointerCapture(event.pointerId); // so that its end is seen wherever the finger goes
    press(`pointer ${event.pointerId}`);
  });
  button.addEventListener("pointerup", (event) => end(`pointer ${event.pointerId}`, onRelease));
  button.addEventListener("pointercancel", (event) => end(`pointer ${event.pointerId}`, onCancel));
  button.addEventListener("lostpointercapture", (event) => end(`pointer ${event.pointerId}`, onCancel));
  button.addEventListener("contextmenu", (event) => event.preventDefault()); // a long touch

  button.addEventListener("keydown", (event) => {
    if (event.key === "Escape") end(null, onCancel);
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    if (!event.repeat) press(`key ${event.key}`);
  });
  button.addEventListener("keyup", (event) => {
    if (event.key === " ") event.preventDefault();
    end(`key ${event.key}`, onRelease);
  });
  button.addEventListener("click", () => {
    if (!wasHeld) onClick();
    wasHeld = false;
  });

  document.addEventListener("keydown", (event) => event.key === "Escape" && end(null, onCancel));
  document.addEventListener("visibilitychange", () => document.hidden && end(null, onCancel));
  button.addEventListener("blur", () => end(null, onCancel));
  window.addEventListener("blur", () => end(null, onCancel));
}
