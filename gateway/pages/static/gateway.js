/** The gateway over HTTP. The key lives in this object, and nowhere else. */

/**
 * What came back, or did not.
 *
 * @typedef {object} Came
 * @property {number} status 0 where nothing came
 * @property {any} body null where it can't be read
 * @property {number} waited milliseconds since sending
 */

const PANELS_MS = 10_000;

export class Gateway {
  #key = "";

  /** @param {string} key */
  useKey(key) {
    this.#key = key;
  }

  get hasKey() {
    return this.#key !== "";
  }

  /** What is served: `GET /v1/model`. */
  model() {
    return this.#ask("/v1/model", { timeout: PANELS_MS });
  }

  /** The fairness panels, as a part of a page. @param {string} defense */
  panels(defense) {
    return this.#ask(`/console/panels${query({ defense })}`, { timeout: PANELS_MS });
  }

  /**
   * Have a clip decided: `POST /v1/commands`.
   *
   * @param {ArrayBuffer | Blob} clip
   * @param {string} mediaType
   * @param {{speaker: string, defense: string}} about
   * @param {{deadline_ms: number, valid_for_ms: number}} limits as `/v1/model` tells them
   */
  decide(clip, mediaType, about, limits) {
    return this.#ask(`/v1/commands${query(about)}`, {
      method: "POST",
      body: clip,
      headers: { "Content-Type": mediaType, "X-Request-Timeout-Ms": String(limits.deadline_ms) },
      timeout: limits.valid_for_ms, // what came later would be void
    });
  }

  /**
   * @param {string} path
   * @param {{timeout: number, method?: string, body?: BodyInit, headers?: Record<string, string>}} options
   * @returns {Promise<Came>}
   */
  async #ask(path, { timeout, headers = {}, ...options }) {
    const since = clock();
    try {
      const answer = await fetch(path, {
        ...options,
        headers: this.hasKey ? { ...headers, Authorization: `Bearer ${this.#key}` } : headers,
        redirect: "error",
        signal: AbortSignal.timeout(timeout),
      });
      return { status: answer.status, body: read(await answer.text(), answer.headers), waited: since() };
    } catch {
      return { status: 0, body: null, waited: since() };
    }
  }
}

/**
 * A clock that starts now: the milliseconds since.
 *
 * The monotonic clock may stand still while the machine sleeps, the wall clock may be set back: the larger difference
 * makes nothing look fresher than it is.
 *
 * @returns {() => number}
 */
export function clock() {
  const [monotonic, wall] = [performance.now(), Date.now()];
  return () => Math.max(performance.now() - monotonic, Date.now() - wall);
}

/** @param {string} text @param {Headers} headers */
function read(text, headers) {
  if (!/^application\/(problem\+)?json\b/.test(headers.get("content-type") ?? "")) return text;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** @param {Record<string, string>} fields those that are empty are left out */
function query(fields) {
  const said = new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== ""));
  return said.size ? `?${said}` : "";
}
