// Keeps the keyboard's place where content is drawn anew: what had the focus is gone by then.

const NAMES = ["id", "name", "data-kind"];

/**
 * Focus what is called like the element that had the focus; without any the content as a whole.
 * @param {Element | null} before If it is there still, or the user has gone on, nothing is done.
 */
export function restoreFocus(before) {
  if (!before || before.isConnected || document.activeElement !== document.body) return;
  const main = document.getElementById("main");
  const name = NAMES.find((one) => before.hasAttribute(one));
  const same = name && main?.querySelector(`[${name}="${CSS.escape(before.getAttribute(name) ?? "")}"]`);
  const next = same instanceof HTMLElement ? same : main;
  next?.focus({ preventScroll: true });
}
