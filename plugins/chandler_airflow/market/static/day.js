// The view of one day of one series: how it adds up, what is absent and why, what was refused, changed and loaded.

import { address, getJson } from "./api.js";
import { smallChart } from "./chart.js";
import { absences, incidents, loads, refused, revisions } from "./day-lists.js";
import { h, put } from "./dom.js";
import { count, DAY_MS, dayText, isoDay, words } from "./numbers.js";
import { refetchButton } from "./refetch-button.js";
import { hashOf } from "./route.js";
import { load, note } from "./waiting.js";

/** @typedef {import("./market.js").Context} Context */
/** @typedef {import("../types/answers.d.ts").Day} Day */
/** @typedef {import("../types/answers.d.ts").Candles} Candles */

/** @param {Context} context */
export function show(context) {
  const { place, route, signal } = context;
  const { series, day } = route;
  if (!/^\d{4}-\d\d-\d\d$/.test(day) || Number.isNaN(Date.parse(day))) {
    put(place, note("That is no day", h("a", { href: "#coverage" }, "Choose one from the coverage")));
    return undefined;
  }
  // One for all drawings, so that what is told last is not gone with the drawing before.
  const says = h("span", { id: "refetch-says", role: "status" });
  let drawn = new AbortController();
  const fill = async () => {
    /** @type {Day | null} */
    let shown = null;
    await load(
      place,
      signal,
      () => getJson("/chandler/api/day", { series, day }, signal),
      (/** @type {Day} */ answer) => {
        drawn.abort();
        drawn = new AbortController();
        draw(place, answer, says, fill, AbortSignal.any([signal, drawn.signal]));
        shown = answer;
      },
    );
    return shown;
  };
  return fill();
}

/**
 * @param {HTMLElement} place
 * @param {Day} facts
 * @param {HTMLElement} says
 * @param {() => Promise<Day | null>} again
 * @param {AbortSignal} signal
 */
function draw(place, facts, says, again, signal) {
  const { series, day } = facts;
  const chart = h("div", { class: "small-chart", role: "img", "aria-label": `Candles of ${series} on ${day}` });
  put(
    place,
    h(
      "div",
      { class: "heading" },
      h("h1", {}, series),
      h("p", {}, dayText(Date.parse(day))),
      h("nav", { class: "steps", "aria-label": "Days" }, neighbour(series, day, -1), neighbour(series, day, 1)),
      h("a", { href: chartAround(series, day) }, "Chart"),
      h("a", { href: qualityPage(series, day) }, "Quality report"),
    ),
    numbers(facts),
    refetchButton(facts, says, again, signal),
    chart,
    absences(facts),
    refused(facts),
    revisions(facts),
    incidents(facts),
    loads(facts, signal),
  );
  drawChart(chart, facts, signal);
}

/**
 * @param {string} series
 * @param {string} day
 * @param {number} step
 */
function neighbour(series, day, step) {
  const other = isoDay(Date.parse(day) + step * DAY_MS);
  const [rel, text] = step < 0 ? ["prev", `← ${other}`] : ["next", `${other} →`];
  return h("a", { id: `${rel}-day`, href: hashOf("day", [series, other]), rel }, text);
}

/**
 * @param {string} series
 * @param {string} day
 */
function chartAround(series, day) {
  const at = Date.parse(day);
  return hashOf("series", [series], { start: isoDay(at - DAY_MS), end: isoDay(at + 2 * DAY_MS) });
}

/**
 * @param {string} series
 * @param {string} day
 */
function qualityPage(series, day) {
  return address("/chandler/quality", { series, start: day, end: isoDay(Date.parse(day) + DAY_MS) });
}

/** @param {Record<string, number>} of */
const sum = (of) => Object.values(of).reduce((total, n) => total + n, 0);

/** @param {Day} facts */
function numbers({ quality }) {
  if (!quality.expected && !sum(quality.refused)) return note("Nothing is known of this day", "It was never loaded.");
  const one = (/** @type {string} */ name, /** @type {number} */ n, /** @type {Record<string, number>} */ by = {}) => {
    const parts = Object.entries(by).map(([kind, m]) => `${count(m)} ${words(kind)}`);
    return h(
      "div",
      { "data-number": name, "data-value": n, class: n && name !== "expected" && name !== "stored" ? "some" : null },
      h("dt", {}, name),
      h("dd", {}, count(n)),
      parts.length > 0 && h("dd", { class: "quiet" }, parts.join(", ")),
    );
  };
  const { expected, stored, absent, flagged, revisions } = quality;
  return h(
    "dl",
    { class: "numbers" },
    one("expected", expected),
    one("stored", stored),
    one("absent", sum(absent), absent),
    one("refused", sum(quality.refused), quality.refused),
    one("flagged", sum(flagged), flagged),
    one("revised", revisions),
  );
}

/**
 * @param {HTMLElement} place
 * @param {Day} facts
 * @param {AbortSignal} signal
 */
function drawChart(place, { series, day, quality, absences: holes }, signal) {
  if (!quality.stored) {
    place.hidden = true;
    return;
  }
  const query = { series, start: `${day}T00:00Z`, end: `${isoDay(Date.parse(day) + DAY_MS)}T00:00Z`, most: 300 };
  const drawCandles = (/** @type {Candles} */ candles) => smallChart(place, candles, holes, signal);
  load(place, signal, () => getJson("/chandler/api/candles", query, signal), drawCandles);
}
