/** The console: what is spoken or dropped goes to the gateway, and what it decides is shown. */

import { NOT_UNDERSTOOD, judge } from "./answer.js";
import { show } from "./decision.js";
import { make, part } from "./elements.js";
import { Gateway } from "./gateway.js";
import { remember } from "./last.js";
import { showPanels } from "./panels.js";
import { talk } from "./talk.js";
import { certified } from "./words.js";

const REFRESH_MS = 5000;

const gateway = new Gateway();
/** @type {any} What `/v1/model` said; null until it did. */
let model = null;
let needsKey = false;
let isAsking = false;
let sent = 0;

const heading = part("model", HTMLElement);
const status = part("status", HTMLElement);
const speaker = part("speaker", HTMLInputElement);
const defense = part("defense", HTMLSelectElement);
const file = part("file", HTMLInputElement);
const keyField = part("key-field", HTMLInputElement);
const refreshing = part("refreshing", HTMLInputElement);

const say = (/** @type {string} */ words) => (status.textContent = words);

/** @param {ArrayBuffer | Blob} clip @param {string} mediaType @param {string} from */
async function decide(clip, mediaType, from) {
  if (model === null) {
    say("The gateway has not said yet what it serves: nothing can be sent.");
    return;
  }
  const number = ++sent;
  const about = { speaker: speaker.value.trim(), defense: defense.value };
  say("Sent; waiting for the decision …");
  const came = await gateway.decide(clip, mediaType, about, model);
  if (came.status === 401) askForKey(came.body?.detail);
  const verdict = judge(came);
  remember(verdict, from, about.speaker);
  if (number !== sent) return; // a newer clip is under way, or decided
  say("");
  try {
    show(verdict);
  } catch {
    show(NOT_UNDERSTOOD); // else an earlier acceptance would stay before one's eyes
  }
}

/** @param {FileList | undefined} files */
function decideFile(files) {
  const [first, ...others] = files ?? [];
  if (!first) return;
  if (others.length) say(`${others.length + 1} files are too many at once; one is accepted.`);
  else void decide(first, mediaTypeOf(first.name), first.name);
}

/** The gateway looks at the bytes; this is what its records say. @param {string} name */
function mediaTypeOf(name) {
  const ending = name.toLowerCase().split(".").at(-1);
  return ending === "wav" ? "audio/wav" : ending === "flac" ? "audio/flac" : "application/octet-stream";
}

/** Ask what is served, which may change, and for the panels. */
async function refresh() {
  if (isAsking || (needsKey && !gateway.hasKey)) return; // each asking without a key counts against this address
  isAsking = true;
  try {
    const { status: code, body } = await gateway.model();
    if (code === 401) return askForKey(body?.detail);
    if (code === 200 && Array.isArray(body?.commands)) {
      if (JSON.stringify(body) !== JSON.stringify(model)) serve(body);
    } else if (model === null) {
      heading.textContent = `Not ready: ${body?.detail ?? "the gateway doesn't answer"}. Asking again.`;
    }
    for (let asked = null; model !== null && asked !== defense.value; ) {
      asked = defense.value; // another one may be chosen meanwhile
      const came = await gateway.panels(asked);
      if (asked === defense.value) showPanels(came);
    }
  } finally {
    isAsking = false;
  }
}

/** @param {any} served */
function serve(served) {
  model = served;
  part("key", HTMLElement).hidden = true;
  heading.replaceChildren(
    "The bundle ",
    make("b", {}, served.name),
    " hears: ",
    served.commands.join(", "),
    `. An acceptance is valid for ${served.valid_for_ms / 1000} s.`,
  );
  const chosen = defense.value;
  defense.length = 1;
  for (const { name, is_default: isDefault } of served.defenses) {
    if (isDefault) defense.options[0].textContent = `as the bundle says (${name})`;
    defense.append(make("option", { value: name }, name));
  }
  defense.value = served.defenses.some((/** @type {any} */ { name }) => name === chosen) ? chosen : "";
  describeDefense();
  part("talk", HTMLButtonElement).setAttribute("aria-disabled", "false");
}

function describeDefense() {
  const isChosen = (/** @type {any} */ one) => (defense.value ? one.name === defense.value : one.is_default);
  const chosen = model?.defenses.find(isChosen);
  const settings = (chosen?.parts ?? []).map((/** @type {any} */ settled) =>
    certified(settled)
      .filter(([, value]) => value !== "not certified")
      .map(([name, value]) => `${name} ${value}`)
      .join(", "),
  );
  part("defense-how", HTMLElement).textContent = settings.filter(Boolean).join("; ");
}

/** @param {string | undefined} why */
function askForKey(why) {
  const wasAsked = needsKey && gateway.hasKey;
  needsKey = true;
  gateway.useKey("");
  model = null;
  part("key", HTMLElement).hidden = false;
  part("talk", HTMLButtonElement).setAttribute("aria-disabled", "true");
  heading.textContent = "The gateway asks for a key.";
  if (wasAsked) say(`That key was refused: ${why ?? "it is none that the gateway knows"}`);
}

/** Take the key out of the field, so that it stands nowhere but in memory. */
function useKey() {
  if (!keyField.value.trim()) return;
  gateway.useKey(keyField.value.trim());
  keyField.value = "";
  say("");
  void refresh();
}

part("key", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  useKey();
});
defense.addEventListener("change", () => {
  describeDefense();
  void refresh();
});
file.addEventListener("change", () => {
  decideFile(file.files ?? undefined);
  file.value = ""; // so that the same file can be chosen again
});
document.addEventListener("dragover", (event) => event.preventDefault()); // else the browser opens what is dropped
document.addEventListener("drop", (event) => {
  event.preventDefault();
  decideFile(event.dataTransfer?.files);
});
talk({
  longest: () => model?.audio.max_seconds ?? null,
  send: (clip) => void decide(clip, "audio/wav", "microphone"),
  say,
});
refreshing.addEventListener("change", () => refreshing.checked && refresh());
setInterval(() => {
  if ((refreshing.checked || model === null) && !document.hidden) void refresh();
}, REFRESH_MS);
void refresh();
