// What stands in for content that is not there: still loading, failed, or nothing to show and what to do then.

import { ApiError, address } from "./api.js";
import { h, put } from "./dom.js";
import { restoreFocus } from "./focus.js";
import { airflow, leave } from "./route.js";

const PATIENCE_MS = 200;

/**
 * Read something and draw it into `place`. A wait is shown only when it is one; a failure with a way on.
 * @template T
 * @param {Element} place
 * @param {AbortSignal} signal Aborted when the view is left: nothing is drawn then.
 * @param {() => Promise<T>} read
 * @param {(answer: T) => void} draw
 */
export async function load(place, signal, read, draw) {
  if (signal.aborted) return;
  const before = document.activeElement;
  const wait = () => signal.aborted || put(place, h("p", { class: "quiet", role: "status" }, "Loading …"));
  const timer = setTimeout(wait, PATIENCE_MS);
  place.setAttribute("aria-busy", "true");
  try {
    const answer = await read();
    if (!signal.aborted) draw(answer);
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof ApiError)) console.error(error);
    put(
      place,
      failure(error, () => load(place, signal, read, draw)),
    );
  } finally {
    clearTimeout(timer);
    // If the view was left, the place is the next one's by now.
    if (!signal.aborted) {
      place.removeAttribute("aria-busy");
      restoreFocus(before);
    }
  }
}

/**
 * Say what went wrong, and what can be done.
 * @param {unknown} error
 * @param {() => void} [again]
 */
export function failure(error, again) {
  const status = error instanceof ApiError ? error.status : -1;
  const text = error instanceof ApiError ? error.message : `The page failed: ${error}`;
  const retry = again && h("button", { type: "button", onclick: again }, "Try again");
  if (status === 401) {
    return note("Your session has ended", "Log in again; you come back to what you were looking at.", loginButton());
  }
  if (status === 503) return note("The warehouse cannot be read", text, retry);
  if (status === 403) return note("Your role may not do this", text);
  // Asked once more in the same words, the server says the same.
  if (status === 422 && again) return unreadable([text], location.hash.split("?", 1)[0] || "#coverage");
  if (status === 404) return note("There is no such thing", text, h("a", { href: "?#coverage" }, "See what there is"));
  return note("That did not work", text, retry);
}

/**
 * Say that there is nothing, and what to do next.
 * @param {string} title
 * @param {...(Node | string | null | undefined | false)} content
 */
export function note(title, ...content) {
  return h(
    "div",
    { class: "note", role: "status" },
    h("strong", {}, title),
    h("p", {}, ...content.flatMap((one) => (one ? [one, " "] : []))),
  );
}

/**
 * Say what of the address cannot be meant.
 * @param {string[]} wrong
 * @param {string} hash Where there is something to see.
 */
export function unreadable(wrong, hash) {
  return note("This address cannot be read", wrong.join(" "), h("a", { href: hash }, "Leave it out"));
}

function loginButton() {
  const { pathname, search, hash } = (airflow() ?? window).location;
  const go = () => leave(address("/api/v2/auth/login", { next: pathname + search + hash }));
  return h("button", { type: "button", class: "primary", onclick: go }, "Log in");
}
