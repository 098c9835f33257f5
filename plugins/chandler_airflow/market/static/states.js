// What a day can be: the letters of the interface, in words. Their colours are CSS variables of the same names. Of kinds
// that need nobody's attention, lines in that colour take the place of the whole.

/** @typedef {"rising" | "falling" | "dots"} Pattern */
/** @typedef {{ letter: string, name: string, label: string, help: string, pattern?: Pattern }} State */

/** @type {State[]} From the gravest to the calmest. */
export const KINDS = [
  { letter: "u", name: "unfetched", label: "unfetched", help: "the fetch failed; repair requests it again" },
  { letter: "e", name: "refused", label: "refused", help: "the row came, and broke a rule" },
  { letter: "p", name: "pending", label: "pending", help: "too young to judge" },
  {
    letter: "q",
    name: "not_requested",
    label: "not requested",
    help: "between loaded ranges; no run has requested it, and none will until you backfill it",
    pattern: "rising",
  },
  { letter: "b", name: "beyond_retention", label: "beyond retention", help: "the exchange no longer serves it" },
  { letter: "o", name: "outage", label: "outage", help: "the whole exchange was silent" },
  { letter: "h", name: "halted", label: "halted", help: "this symbol alone was silent" },
  { letter: "n", name: "no_trades", label: "no trades", help: "the exchange prints no candle where nobody traded" },
  { letter: "l", name: "not_listed", label: "not listed", help: "before its first candle", pattern: "dots" },
  { letter: "d", name: "delisted", label: "delisted", help: "after its last candle", pattern: "falling" },
];

export const STORED = { letter: "s", name: "stored", label: "stored", help: "every candle of the day is held" };

/**
 * The classes of a swatch: its colour and its pattern.
 * @param {string} name
 */
export function swatchOf(name) {
  const pattern = KINDS.find((kind) => kind.name === name)?.pattern;
  return `swatch of-${name}${pattern ? ` is-${pattern}` : ""}`;
}

/** @param {string} name */
export const labelOf = (name) => KINDS.find((kind) => kind.name === name)?.label ?? name.replaceAll("_", " ");

/**
 * Read the colours of the theme that is shown.
 * @returns {Record<string, string>} CSS colours by the names of kinds, and `ink`, `quiet`, `line`, `ground`, ...
 */
export function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = [STORED, ...KINDS].map((kind) => kind.name);
  names.push("revised", "flagged", "ink", "quiet", "line", "ground", "raised", "accent", "up", "down");
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}
