// What colours mean, and choosing one of them.

import { h } from "./dom.js";
import { hashOf } from "./route.js";
import { KINDS, STORED, swatchOf } from "./states.js";

/** @typedef {import("../types/answers.d.ts").Coverage} Coverage */
/** @typedef {import("../types/answers.d.ts").SeriesCoverage} SeriesCoverage */
/** @typedef {{ name: string, label: string, help: string }} Entry */

/** @type {Entry[]} */
const MARKS = [
  { name: "refused", label: "refused", help: "rows that came, and broke a rule" },
  { name: "revised", label: "revised", help: "candles that the exchange changed after they had closed" },
];

/**
 * Name what there is on the map, and nothing else; a click leaves only the days that have it in full colour.
 * @param {Coverage} answer
 * @param {URLSearchParams} query
 */
export function legend({ series }, query) {
  const letters = new Set(series.flatMap((of) => [...of.states]));
  const others = new Set(series.flatMap((of) => Object.values(of.missing).flatMap(Object.keys)));
  const kinds = [STORED, ...KINDS].filter((kind) => letters.has(kind.letter) || others.has(kind.name));
  const isNew = (/** @type {Entry} */ { name }) => !kinds.some((kind) => kind.name === name);
  const marks = MARKS.filter((mark) => isNew(mark) && series.some((of) => hasMarks(of, mark.name)));
  return h(
    "div",
    { class: "legend", role: "group", "aria-label": "Show only the days with" },
    ...kinds.map((kind) => button(kind, "", query)),
    ...marks.map((mark) => button(mark, " mark", query)),
  );
}

/**
 * @param {Entry} entry
 * @param {string} shape
 * @param {URLSearchParams} query
 */
function button({ name, label, help }, shape, query) {
  const isOn = query.get("kind") === name;
  const go = () => {
    // Of the address as it is by then: the days that are shown have their place in it too.
    const next = new URLSearchParams(location.hash.split("?")[1] ?? "");
    next.delete("kind");
    if (!isOn) next.set("kind", name);
    location.hash = hashOf("coverage", [], next);
  };
  const attributes = { type: "button", "data-kind": name, "aria-pressed": String(isOn), title: help, onclick: go };
  return h("button", attributes, h("i", { class: swatchOf(name) + shape }), label);
}

/**
 * @param {SeriesCoverage} of
 * @param {string} name
 */
function hasMarks(of, name) {
  return Object.keys(name === "refused" ? of.refused : of.revised).length > 0;
}
