// Candles on an even grid. The chart counts what it is given, so an absent candle keeps its place as a blank: then
// time is linear in the chart's own counting, and any place on it can be named before its candles have come.

/** @typedef {import("../types/answers.d.ts").Candles} Candles */
/** @typedef {import("./lightweight-charts.mjs").UTCTimestamp} UTCTimestamp */
/** @typedef {{ start: number, end: number }} Span Seconds since the epoch. */
/**
 * @typedef {object} Grid
 * @property {number} start Seconds since the epoch of the place number 0.
 * @property {number} step
 * @property {number} length
 * @property {Candles} candles
 * @property {Map<number, number>} at Index in `candles` by time.
 */

/** @type {[string, number][]} */
export const WIDTHS = [
  ["1m", 60],
  ["5m", 300],
  ["15m", 900],
  ["1h", 3600],
  ["4h", 14400],
  ["1d", 86400],
];

/** @param {string} width */
export function secondsOf(width) {
  const known = WIDTHS.find(([name]) => name === width)?.[1];
  if (known) return known;
  const unit = { m: 60, h: 3600, d: 86400, w: 604800 }[width.slice(-1)] ?? 60;
  return Number.parseInt(width, 10) * unit;
}

// Of a range of more stored candles the server answers with days.
const MOST_READ = 65_000;
const DAY_S = 86400;

/**
 * Return the width in seconds that the server will choose: the series' own or one made of it, the finest of which at
 * most `most` fit.
 * @param {Span} span
 * @param {number} finest Of the series itself.
 * @param {number} most
 */
export function widthFor(span, finest, most) {
  const length = span.end - span.start;
  if (length / finest > MOST_READ) return DAY_S;
  const wider = WIDTHS.map(([, step]) => step).filter((step) => step > finest && step % finest === 0);
  return [finest, ...wider].find((step) => length / step <= most) ?? DAY_S;
}

/**
 * @param {Candles} candles
 * @returns {Grid | null} Null if there is no candle.
 */
export function gridOf(candles) {
  const [first, last] = [candles.time_s[0], candles.time_s.at(-1)];
  if (first === undefined || last === undefined) return null;
  const step = secondsOf(candles.width);
  const at = new Map(candles.time_s.map((time, index) => [time, index]));
  return { start: first, step, length: Math.round((last - first) / step) + 1, candles, at };
}

/**
 * @template T
 * @param {Grid} grid
 * @param {(index: number) => T} make What stands at the place of a candle, by its index.
 * @returns {(T & { time: UTCTimestamp } | { time: UTCTimestamp })[]}
 */
export function onGrid({ start, step, length, at }, make) {
  return Array.from({ length }, (_, place) => {
    const time = /** @type {UTCTimestamp} */ (start + place * step);
    const index = at.get(time);
    return index === undefined ? { time } : { time, ...make(index) };
  });
}

/**
 * @param {Grid} grid
 * @param {number} place
 */
export const timeAt = ({ start, step }, place) => start + place * step;

/**
 * @param {Grid} grid
 * @param {number} time
 */
export const placeOf = ({ start, step }, time) => (time - start) / step;

/**
 * Return a span as it can be shown: around the same middle, as wide as `least` at least, and within the bounds.
 * @param {Span} span
 * @param {number} least In seconds.
 * @param {Span} bounds
 * @returns {Span}
 */
export function within({ start, end }, least, bounds) {
  const width = Math.max(Math.min(end - start, bounds.end - bounds.start), least);
  const from = Math.max(Math.min((start + end - width) / 2, bounds.end - width), bounds.start);
  return { start: from, end: from + width };
}

/**
 * Return what is seen with a margin on either side, as far as there is anything.
 * @param {Span} seen
 * @param {number} margin As a share of what is seen.
 * @param {Span} bounds
 * @returns {Span}
 */
export function withMargin(seen, margin, bounds) {
  const more = (seen.end - seen.start) * margin;
  const [start, end] = [Math.max(seen.start - more, bounds.start), Math.min(seen.end + more, bounds.end)];
  return start < end ? { start, end } : bounds;
}
