// What a chart shows, in words: the candle under the cursor, and all of it for those who cannot see it.

import { compact, decimals, moment, plural, price, words } from "./numbers.js";
import { labelOf } from "./states.js";

/** @typedef {import("../types/answers.d.ts").Marks} Marks */
/** @typedef {import("./grid.js").Grid} Grid */
/** @typedef {import("./grid.js").Span} Span */

/**
 * @param {HTMLElement} place
 * @param {Grid} grid
 * @param {Span} seen
 * @param {Marks} marks
 */
export function tellChart(place, { candles }, seen, marks) {
  const inside = candles.time_s.flatMap((time, index) => (time >= seen.start && time < seen.end ? [index] : []));
  const last = inside.at(-1);
  const incidents = marks.incidents.filter((one) => isSeen(seen, one));
  const parts = [
    `${plural(inside.length, "candle")} of ${candles.width}, from ${moment(seen.start * 1000)} to ${moment(seen.end * 1000)}`,
    candles.is_retired && "the archive alone has narrower ones",
    last === undefined
      ? "none of them closed here"
      : `last close ${price(candles.close[last] ?? 0, decimals(candles.close))}`,
    candles.as_of ? "nothing is marked" : plural(incidents.length, "incident"),
    ...incidents.slice(0, 5).map((one) => `${one.severity} ${words(one.kind)} at ${moment(one.peak)}`),
    ...marks.absences
      .filter((one) => isSeen(seen, one))
      .slice(0, 5)
      .map((one) => `absent from ${moment(one.start)} to ${moment(one.end)}: ${labelOf(one.kind)}`),
  ];
  place.textContent = `${parts.filter(Boolean).join("; ")}.`;
}

/**
 * Return the time of the last candle that is seen; if none is, of the first that there is.
 * @param {Grid} grid
 * @param {Span} seen
 */
export function lastSeen({ candles, start }, seen) {
  return candles.time_s.findLast((time) => time < seen.end) ?? start;
}

/**
 * @param {Span} seen
 * @param {{ start: string, end: string }} one What may have begun before, and may end after.
 */
function isSeen(seen, { start, end }) {
  return Date.parse(start) / 1000 < seen.end && Date.parse(end) / 1000 > seen.start;
}

/**
 * @param {HTMLElement} place
 * @param {Grid} grid
 * @param {Marks} marks
 * @param {number} at Time of a place on the grid.
 */
export function tellCursor(place, grid, marks, at) {
  const { candles } = grid;
  const index = grid.at.get(at);
  if (index === undefined) {
    const hole = marks.absences.find(
      (one) => Date.parse(one.start) / 1000 < at + grid.step && at < Date.parse(one.end) / 1000,
    );
    place.textContent = `${moment(at * 1000)}  absent${hole ? `: ${labelOf(hole.kind)}` : ""}`;
    return;
  }
  const digits = decimals(candles.close);
  const value = (/** @type {number[]} */ of) => price(of[index] ?? 0, digits);
  const [open = 0, close = 0] = [candles.open[index], candles.close[index]];
  const move = open ? (100 * (close - open)) / open : 0;
  const made =
    (candles.counts[index] ?? 1) > 1 || candles.is_made ? ` of ${plural(candles.counts[index] ?? 1, "candle")}` : "";
  const strange = marks.anomalies.some((one) => one.open_time_s >= at && one.open_time_s < at + grid.step)
    ? "  anomaly"
    : "";
  const numbers = `O\u00a0${value(candles.open)}  H\u00a0${value(candles.high)}  L\u00a0${value(candles.low)}  C\u00a0${value(candles.close)}`;
  const rest = `V\u00a0${compact(candles.volume[index] ?? 0)}  ${move >= 0 ? "+" : ""}${move.toFixed(2)}\u00a0%`;
  place.textContent = `${moment(at * 1000)}  ${candles.width}${made}  ${numbers}  ${rest}${strange}`;
}
