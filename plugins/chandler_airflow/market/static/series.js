// The view of one series: its candles from years to minutes, with what was strange, absent or changed.

import { candleChart } from "./chart.js";
import { h, put } from "./dom.js";
import { Explorer } from "./explore.js";
import { secondsOf } from "./grid.js";
import { DAY_MS, isoDay, lag, moment } from "./numbers.js";
import { hashOf, leave, MOMENT, remember, wrongIn } from "./route.js";
import { listSeries } from "./series-list.js";
import { load, note, unreadable } from "./waiting.js";

/** @typedef {import("./market.js").Context} Context */
/** @typedef {import("../types/answers.d.ts").SeriesInfo} SeriesInfo */

/** @type {[string, number][]} */
const PRESETS = [
  ["1 day", 1],
  ["1 week", 7],
  ["1 month", 30],
  ["1 year", 365],
  ["all", Number.POSITIVE_INFINITY],
];
const DAY_S = 86400;
// How many candles are worth a button, and how many are seen first at least: a week of days is no chart.
const FEW = 10;
const USUAL = 100;

/** @param {Context} context */
export function show(context) {
  const { place, route, signal, series } = context;
  const wrong = wrongIn(route.query, { as_of: MOMENT, start: MOMENT, end: MOMENT });
  return load(place, signal, series, (all) => {
    const info = all.find((one) => one.series === route.series);
    if (!route.series) listSeries(context, all);
    else if (info && wrong.length) put(place, unreadable(wrong, hashOf("series", [info.series])));
    else if (info) drawSeries(context, info);
    else
      put(place, note(`There is no series ${route.series}`, h("a", { href: "#series" }, "See those that there are")));
  });
}

/**
 * @param {Context} context
 * @param {SeriesInfo} info
 */
function drawSeries({ place, route, signal }, info) {
  if (!info.first) {
    put(
      place,
      h("h1", {}, info.series),
      note("Nothing of it is loaded yet", "Switch on its DAG, or backfill it.", dagLink(info)),
    );
    return;
  }
  const chart = h("div", {
    id: "chart",
    tabindex: 0,
    role: "application",
    "aria-roledescription": "chart",
    "aria-label": HELP,
  });
  const under = h("p", { id: "under-cursor", class: "quiet" });
  const says = h("p", { id: "chart-says", class: "hidden", "aria-live": "polite" });
  const past = h("p", { id: "past", role: "status", hidden: true });
  const trouble = h("div", { "aria-live": "polite" });
  const bounds = boundsOf(info);
  const { query } = route;
  const parts = { chart, under, says, past, trouble };
  const slider = asOf(info, query.get("as_of"));
  const compare = venues(info, query.get("with"));
  const presets = h("div", { id: "presets", class: "bar", role: "group", "aria-label": "Range" });
  put(
    place,
    h("div", { class: "heading" }, h("h1", {}, info.series), h("p", { class: "quiet" }, ...heldOf(info))),
    h("div", { class: "tools" }, presets, compare, slider.control),
    past,
    under,
    chart,
    says,
    trouble,
    credit(),
  );
  const made = candleChart(chart, signal);
  const explorer = new Explorer(
    made,
    parts,
    info,
    bounds,
    startOf(query, bounds, secondsOf(info.timeframe)),
    { with: query.get("with"), asOf: slider.value() },
    signal,
  );
  for (const [name, days] of PRESETS) {
    if (days * DAY_S < FEW * secondsOf(info.timeframe)) continue;
    const go = () => explorer.go({ start: Math.max(bounds.end - days * DAY_S, bounds.start), end: bounds.end });
    presets.append(h("button", { type: "button", "data-span": name, onclick: go }, name));
  }
  compare.addEventListener("change", () => {
    const other = compare.querySelector("select")?.value || null;
    remember({ with: other });
    explorer.choose({ with: other });
  });
  slider.listen((when) => {
    remember({ as_of: when });
    explorer.choose({ asOf: when });
  });
}

const HELP =
  "Candles. Left and right arrows move, plus and minus zoom, Home and End lead to the ends. What is shown is told in words below.";

/** @param {SeriesInfo} info */
function boundsOf({ first, last, end }) {
  const ends = [end, last].flatMap((time) => (time ? [Date.parse(time) / 1000] : []));
  return { start: Date.parse(first ?? "") / 1000, end: Math.max(...ends) };
}

/**
 * @param {URLSearchParams} query
 * @param {{ start: number, end: number }} bounds
 * @param {number} width Of a candle, in seconds.
 */
function startOf(query, bounds, width) {
  const [start, end] = ["start", "end"].map((name) => Date.parse(query.get(name) ?? "") / 1000);
  if (start !== undefined && end !== undefined && start < end) return { start, end };
  const length = Math.max(7 * DAY_S, USUAL * width);
  return { start: Math.max(bounds.end - length, bounds.start), end: bounds.end };
}

/**
 * How fresh it is, and apart from that how far it is complete: a gap that no run has requested makes nothing old.
 * @param {SeriesInfo} info
 */
function heldOf({ series, first, last, last_load, watermark, end, ended }) {
  const fresh = ended ? `ended ${moment(ended)}` : `loaded ${moment(last_load)}, ${lag(end)} behind the clock`;
  const day = (/** @type {string} */ text, /** @type {number} */ time) =>
    h("a", { href: hashOf("day", [series, isoDay(time)]) }, text);
  const gap = watermark && end && watermark !== end ? day("first gap", Date.parse(watermark)) : "";
  return [
    `since ${moment(first)}, last candle ${moment(last)}, ${fresh}; complete up to ${moment(watermark)} `,
    ...(last ? [day("last day", Date.parse(last)), " "] : []),
    gap,
  ];
}

/** @param {SeriesInfo} info */
function dagLink({ feeds }) {
  return feeds[0] ? h("span", {}, " Its feed is ", h("code", {}, feeds[0]), ".") : "";
}

/**
 * @param {SeriesInfo} info
 * @param {string | null} chosen
 */
function venues({ siblings }, chosen) {
  const options = siblings.map((one) => h("option", { value: one, selected: one === chosen }, one));
  const none = siblings.length ? "no other venue" : "no other venue is held";
  const select = h("select", { id: "with", disabled: !siblings.length }, h("option", { value: "" }, none), ...options);
  return h("label", { class: "tool" }, "Compare with", select);
}

/**
 * A slider of days, from the first candle on; at its right end it is now.
 * @param {SeriesInfo} info
 * @param {string | null} chosen
 */
function asOf({ first }, chosen) {
  const from = Math.floor(Date.parse(first ?? "") / DAY_MS);
  const days = Math.max(Math.floor(Date.now() / DAY_MS) - from + 1, 1);
  const at = chosen ? Math.floor(Date.parse(chosen) / DAY_MS) - from : days;
  const input = h("input", {
    id: "as-of",
    type: "range",
    min: 0,
    max: days,
    step: 1,
    value: Math.min(Math.max(at, 0), days),
  });
  const output = h("output", { for: "as-of" });
  const value = () => (Number(input.value) === days ? null : `${isoDay((from + Number(input.value)) * DAY_MS)}T00:00Z`);
  const tell = () => {
    output.textContent = value()?.slice(0, 10) ?? "now";
    input.setAttribute("aria-valuetext", output.textContent ?? "");
  };
  tell();
  input.addEventListener("input", tell);
  const control = h("label", { class: "tool" }, "As of", input, output);
  const listen = (/** @type {(when: string | null) => void} */ hear) =>
    input.addEventListener("change", () => hear(value()));
  return { control, value, listen };
}

function credit() {
  const site = "https://www.tradingview.com/";
  const go = (/** @type {Event} */ event) => {
    event.preventDefault();
    leave(site);
  };
  return h(
    "p",
    { class: "quiet credit" },
    "Charts by ",
    h("a", { href: site, onclick: go }, "TradingView"),
    " Lightweight Charts™",
  );
}
