// The heat map in sums: per series and over all, for those who cannot see it, or want numbers.

import { h, table } from "./dom.js";
import { count, plural, share } from "./numbers.js";
import { hashOf } from "./route.js";
import { KINDS, labelOf } from "./states.js";

/** @typedef {import("../types/answers.d.ts").SeriesCoverage} SeriesCoverage */
/** @typedef {{ expected: number, stored: number, kinds: Record<string, number>, refused: number, revised: number }} Sums */

// Of these no candle is due, so what is held is not the worse for them.
const NOT_DUE = new Set(["not_listed", "delisted", "not_requested"]);

/**
 * @param {SeriesCoverage} of
 * @returns {Sums}
 */
export function sumUp(of) {
  const states = [...of.states];
  const known = states.filter((letter, day) => letter !== "." && !(day in of.partial)).length;
  let expected = known * of.per_day;
  for (const part of Object.values(of.partial)) expected += part;
  /** @type {Record<string, number>} */
  const kinds = {};
  let missing = 0;
  let nothing = 0;
  for (const of_day of Object.values(of.missing)) {
    for (const [kind, n] of Object.entries(of_day)) {
      kinds[kind] = (kinds[kind] ?? 0) + n;
      missing += n;
      if (NOT_DUE.has(kind)) nothing += n;
    }
  }
  const [refused, revised] = [total(of.refused), total(of.revised)];
  return { expected: expected - nothing, stored: expected - missing, kinds, refused, revised };
}

/** @param {Record<string, number>} by_day */
const total = (by_day) => Object.values(by_day).reduce((sum, n) => sum + n, 0);

/** @param {SeriesCoverage[]} all */
export function sumLine(all) {
  const sums = all.map(sumUp);
  const stored = sums.reduce((n, one) => n + one.stored, 0);
  const expected = sums.reduce((n, one) => n + one.expected, 0);
  if (!expected) return "no candle is expected.";
  return `${plural(stored, "candle")}, ${share(stored, expected)} of expected candles.`;
}

/** @param {SeriesCoverage[]} all */
export function sumTable(all) {
  const sums = all.map((of) => ({ of, ...sumUp(of) }));
  const kinds = KINDS.map((kind) => kind.name).filter((name) => sums.some((one) => one.kinds[name]));
  const columns = [
    { name: "Series" },
    ...["Expected", "Stored", "Share", ...kinds.map(labelOf), "refused rows", "revised"].map((name) => ({
      name,
      number: true,
    })),
  ];
  const rows = sums.map(({ of, expected, stored, kinds: absent, refused, revised }) => [
    h("a", { href: hashOf("series", [of.series]) }, of.series),
    count(expected),
    count(stored),
    share(stored, expected),
    ...kinds.map((name) => (absent[name] ? count(absent[name]) : "")),
    refused ? count(refused) : "",
    revised ? count(revised) : "",
  ]);
  return h("details", { id: "sums" }, h("summary", {}, "As a table"), table("Coverage by series", columns, rows));
}
