// Numbers and times as people read them; all times are UTC.

export const DAY_MS = 86_400_000;

const COUNT = new Intl.NumberFormat("en-US");
const SHORT = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 });
const LONG_DAY = dayFormat({ weekday: "short", day: "numeric", month: "short", year: "numeric" });
const SHORT_MONTH = dayFormat({ month: "short" });
const LONG_MONTH = dayFormat({ month: "long", year: "numeric" });

/** @param {Intl.DateTimeFormatOptions} options */
function dayFormat(options) {
  return new Intl.DateTimeFormat("en-GB", { ...options, timeZone: "UTC" });
}

/** @param {number} n */
export const count = (n) => COUNT.format(n);

/** @param {number} n */
export const compact = (n) => SHORT.format(n);

/**
 * "1 candle", "2 candles".
 * @param {number} n
 * @param {string} word
 */
export const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

/**
 * A share in percent that is 100 only if nothing is missing.
 * @param {number} part
 * @param {number} whole
 */
export function share(part, whole) {
  if (!whole) return "–";
  if (part === whole) return "100 %";
  const pct = Math.min((100 * part) / whole, 99.99);
  return `${pct.toFixed(pct >= 99 ? 2 : 1)} %`;
}

/**
 * @param {unknown} n What is no number is a dash.
 * @param {number} [digits]
 */
export const fixed = (n, digits = 3) => (typeof n === "number" ? n.toFixed(digits) : "–");

/** @param {number | null} seconds */
export function duration(seconds) {
  if (seconds === null) return "–";
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
}

/**
 * How many decimals the prices need: what they have, up to eight significant digits of the greatest.
 * @param {number[]} prices
 */
export function decimals(prices) {
  const greatest = prices.reduce((most, price) => Math.max(most, Math.abs(price)), 0);
  if (!greatest) return 2;
  const most = Math.min(Math.max(7 - Math.floor(Math.log10(greatest)), 2), 15);
  let digits = 2;
  for (const price of prices.slice(-200)) {
    while (digits < most && Math.abs(Number(price.toFixed(digits)) - price) > greatest * 1e-9) digits += 1;
  }
  return digits;
}

/**
 * A price with its decimals; a very small one as 0.0₇95534, which is read more easily than seven noughts.
 * @param {number} value
 * @param {number} digits
 */
export function price(value, digits) {
  const text = value.toFixed(digits);
  const noughts = text.match(/^(-?)0\.(0{5,})([1-9]\d*)$/);
  if (!noughts) return text;
  const [, sign, zeros = "", rest] = noughts;
  return `${sign}0.0${[...String(zeros.length)].map((digit) => String.fromCharCode(0x2080 + Number(digit))).join("")}${rest}`;
}

export const dayText = (/** @type {Date | number} */ time) => LONG_DAY.format(time);
export const monthName = (/** @type {Date | number} */ time) => SHORT_MONTH.format(time);
export const monthText = (/** @type {Date | number} */ time) => LONG_MONTH.format(time);

/**
 * "2026-03-03" of a time.
 * @param {Date | number} time
 */
export const isoDay = (time) => new Date(time).toISOString().slice(0, 10);

/**
 * "2026-03-03 04:05", without what says nothing.
 * @param {string | number | null | undefined} time
 */
export function moment(time) {
  if (time === null || time === undefined) return "–";
  return new Date(time).toISOString().slice(0, 16).replace("T", " ");
}

/**
 * "04:05" of a time, with its day if it is another than `day`.
 * @param {string} time
 * @param {string} day
 */
export function clock(time, day) {
  const text = moment(time);
  return text.startsWith(day) ? text.slice(11) : text;
}

/**
 * How long ago a moment was, in its two largest units: "3 h 5 min".
 * @param {string | null} time
 */
export function lag(time) {
  if (!time) return "–";
  const minutes = Math.max(Math.round((Date.now() - Date.parse(time)) / 60_000), 0);
  /** @type {[number, string][]} */
  const parts = [
    [Math.floor(minutes / 1440), "d"],
    [Math.floor(minutes / 60) % 24, "h"],
    [minutes % 60, "min"],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  if (first < 0) return "0 min";
  return parts
    .slice(first, first + 2)
    .filter(([n]) => n > 0)
    .map(([n, unit]) => `${n} ${unit}`)
    .join(" ");
}

/** @param {string} kind */
export const words = (kind) => kind.replaceAll("_", " ");
