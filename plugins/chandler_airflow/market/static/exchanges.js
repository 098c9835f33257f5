// The view of exchanges: how much of the budget is used, whether one has asked us to pause, and how they answer.

import { getJson } from "./api.js";
import { h, prepareCanvas, put, section, table, writeWhole } from "./dom.js";
import { compact, count, duration, moment, plural, share } from "./numbers.js";
import { readColours } from "./states.js";
import { load, note } from "./waiting.js";

/** @typedef {import("./market.js").Context} Context */
/** @typedef {import("../types/answers.d.ts").Exchange} Exchange */
/** @typedef {import("../types/answers.d.ts").ExchangeHour} Hour */
/** @typedef {import("../types/answers.d.ts").Exchanges} Exchanges */

const HEIGHT = 64;
const SCALE_HEIGHT = 16;
const HOUR_MS = 3_600_000;

/** @param {Context} context */
export function show({ place, signal }) {
  return load(
    place,
    signal,
    () => getJson("/chandler/api/exchanges", {}, signal),
    (/** @type {Exchanges} */ answer) => draw(place, answer.exchanges, signal),
  );
}

/**
 * @param {HTMLElement} place
 * @param {Exchange[]} all
 * @param {AbortSignal} signal
 */
function draw(place, all, signal) {
  if (!all.length) {
    const next = [
      "Exchanges stand here once something was asked of them: switch on a DAG ",
      h("code", {}, "ingest_…"),
      ".",
    ];
    put(place, h("h1", {}, "Exchanges"), note("No exchange was asked yet", ...next));
    return;
  }
  put(
    place,
    h("h1", {}, "Exchanges"),
    h("p", { class: "quiet" }, "The last 24 hours."),
    ...all.map((one) => card(one, signal)),
  );
}

/**
 * @param {Exchange} one
 * @param {AbortSignal} signal
 */
function card(one, signal) {
  const canvas = h("canvas", { role: "img", "aria-label": `Requests of ${one.exchange} by hour; the table has them` });
  const made = section(one.exchange, facts(one), budget(one), h("div", { class: "hours" }, canvas), hourTable(one));
  made.dataset.exchange = one.exchange;
  made.className = "exchange";
  const hours = lastDay(one.hours);
  const paint = () => paintHours(canvas, hours);
  // Its width is known only once it is on the page, and changes with the window's.
  const resized = new ResizeObserver(paint);
  resized.observe(made);
  signal.addEventListener("abort", () => resized.disconnect());
  document.addEventListener("theme", paint, { signal });
  return made;
}

/**
 * Return the last 24 hours, those too in which nothing was asked.
 * @param {Hour[]} hours
 * @returns {Hour[]}
 */
function lastDay(hours) {
  const known = new Map(hours.map((hour) => [Date.parse(hour.hour), hour]));
  const now = Math.floor(Date.now() / HOUR_MS) * HOUR_MS;
  return Array.from({ length: 24 }, (_, at) => {
    const time = now - (23 - at) * HOUR_MS;
    const none = { requests: 0, failed: 0, outcomes: {}, mean_s: null, p95_s: null, slowest_s: 0 };
    return known.get(time) ?? { hour: new Date(time).toISOString(), ...none };
  });
}

/** @param {Exchange} one */
function facts({ hours, paused_until }) {
  const requests = hours.reduce((sum, hour) => sum + hour.requests, 0);
  const failed = hours.reduce((sum, hour) => sum + hour.failed, 0);
  const slowest = hours.reduce((most, hour) => Math.max(most, hour.p95_s ?? 0), 0);
  const paused = paused_until && Date.parse(paused_until) > Date.now();
  return h(
    "p",
    {},
    paused && h("strong", { class: "wrong" }, `It asked us to pause until ${moment(paused_until)}. `),
    requests
      ? `${plural(requests, "request")}, ${failed ? `${count(failed)} failed (${share(failed, requests)})` : "none failed"}; 95 % took less than ${duration(slowest)} in the slowest hour.`
      : "Nothing was asked of it.",
  );
}

/** @param {Exchange} one */
function budget({ limit, interval_s, share: part, spent, spent_pct }) {
  if (limit === null) return null;
  const ours = `of which we take ${Math.round(part * 100)} % at most`;
  const text = `${compact(spent)} spent; it allows ${compact(limit)} in ${interval_s} s, ${ours}`;
  const meter = h("meter", { min: 0, max: 100, high: 80, value: spent_pct, "aria-label": "Budget used in percent" });
  return h(
    "p",
    { class: "budget" },
    meter,
    h("span", {}, `${spent_pct.toFixed(0)} %`),
    h("span", { class: "quiet" }, text),
  );
}

/**
 * A bar an hour: requests, and on top of it those that failed; above them how many the highest bar means.
 * @param {HTMLCanvasElement} canvas
 * @param {Hour[]} hours
 */
function paintHours(canvas, hours) {
  const width = canvas.parentElement?.clientWidth ?? 0;
  const context = prepareCanvas(canvas, width, SCALE_HEIGHT + HEIGHT + 16);
  const colours = readColours();
  const most = Math.max(...hours.map((hour) => hour.requests), 1);
  const step = width / Math.max(hours.length, 1);
  const foot = SCALE_HEIGHT + HEIGHT;
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = colours.line ?? "";
  context.fillRect(0, SCALE_HEIGHT - 1, width, 1);
  context.fillStyle = colours.quiet ?? "";
  context.fillText(`${plural(most, "request")} in an hour`, 0, SCALE_HEIGHT - 5);
  for (const [at, hour] of hours.entries()) {
    const high = (HEIGHT * hour.requests) / most;
    const bad = hour.failed ? Math.max((HEIGHT * hour.failed) / most, 2) : 0;
    const [x, bar] = [at * step, Math.max(step - 2, 1)];
    context.fillStyle = colours.stored ?? "";
    context.fillRect(x, foot - high + bad, bar, high - bad);
    context.fillStyle = colours.unfetched ?? "";
    context.fillRect(x, foot - high, bar, bad);
    context.fillStyle = colours.line ?? "";
    context.fillRect(x, foot, step, 1);
    context.fillStyle = colours.quiet ?? "";
    if (at % (step < 22 ? 6 : 3) === 0) writeWhole(context, moment(hour.hour).slice(11), x, foot + 13, width);
  }
}

/** @param {Exchange} one */
function hourTable({ exchange, hours }) {
  const asked = hours.filter((hour) => hour.requests > 0).reverse();
  if (!asked.length) return null;
  const columns = [
    { name: "Hour" },
    ...["Requests", "Failed", "Mean", "95 %", "Slowest"].map((name) => ({ name, number: true })),
    { name: "Outcomes" },
  ];
  const rows = asked.map((hour) => [
    moment(hour.hour),
    count(hour.requests),
    hour.failed ? h("span", { class: "wrong" }, count(hour.failed)) : "0",
    duration(hour.mean_s),
    duration(hour.p95_s),
    duration(hour.slowest_s),
    outcomes(hour),
  ]);
  return h("details", {}, h("summary", {}, "By hour"), table(`Requests of ${exchange} by hour`, columns, rows));
}

/** @param {Hour} hour */
function outcomes({ outcomes: all }) {
  const parts = Object.entries(all).filter(([, n]) => n > 0);
  return parts.map(([outcome, n]) => `${count(n)} ${outcome.replaceAll("_", " ")}`).join(", ");
}
