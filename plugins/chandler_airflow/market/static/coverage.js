// The view of all series by days: which candles are held, which are not, and why.

import { getJson } from "./api.js";
import { h, put } from "./dom.js";
import { restoreFocus } from "./focus.js";
import { has } from "./heatmap.js";
import { legend } from "./legend.js";
import { CoverageMap } from "./map.js";
import { plural } from "./numbers.js";
import { oneOf, parseRoute, wholeNumber, wrongIn } from "./route.js";
import { KINDS, STORED } from "./states.js";
import { sumLine, sumTable } from "./sums.js";
import { load, note, unreadable } from "./waiting.js";

/** @typedef {import("./market.js").Context} Context */
/** @typedef {import("../types/answers.d.ts").Coverage} Coverage */
/** @typedef {import("../types/answers.d.ts").SeriesCoverage} SeriesCoverage */

// How many days are seen at once, at first.
const [NARROW, DAYS, DAYS_WHERE_NARROW] = [600, 90, 30];

/** @param {Context} context */
export function show(context) {
  const { place, route, signal, dag } = context;
  const kinds = oneOf([STORED, ...KINDS, { name: "revised" }].map(({ name }) => name));
  const wrong = wrongIn(route.query, { kind: kinds, days: wholeNumber(1, 36_525) });
  if (wrong.length) {
    put(place, h("h1", {}, "Coverage"), unreadable(wrong, "#coverage"));
    return undefined;
  }
  return load(
    place,
    signal,
    () => getJson("/chandler/api/coverage", { dag }, signal),
    (/** @type {Coverage} */ answer) => draw(context, answer),
  );
}

/**
 * @param {Context} context
 * @param {Coverage} answer
 */
function draw(context, answer) {
  const { place, route, filter, signal, dag } = context;
  if (!answer.series.length) {
    put(place, h("h1", {}, "Coverage"), nothingYet(dag));
    return;
  }
  const kind = route.query.get("kind");
  const body = h("div", {});
  put(place, heading(answer, dag), legend(answer, route.query), body);
  let drawn = new AbortController();
  const fill = () => {
    const before = document.activeElement;
    drawn.abort();
    drawn = new AbortController();
    const shown = wanted(answer.series, filter.value, kind);
    const both = { ...context, signal: AbortSignal.any([signal, drawn.signal]) };
    if (shown.length) drawMap(both, body, { ...answer, series: shown }, kind);
    else put(body, note("No series is like that", h("button", { type: "button", onclick: all }, "Show all")));
    restoreFocus(before);
  };
  const all = () => {
    filter.value = "";
    if (kind) location.hash = "#coverage";
    else fill();
  };
  filter.addEventListener("input", fill, { signal });
  fill();
}

/**
 * @param {SeriesCoverage[]} all
 * @param {string} text Words that the series' name must hold, each.
 * @param {string | null} kind
 */
function wanted(all, text, kind) {
  const parts = text.toLowerCase().split(/\s+/).filter(Boolean);
  const isWanted = (/** @type {SeriesCoverage} */ of) =>
    parts.every((part) => of.series.toLowerCase().includes(part)) &&
    (kind === null || [...of.states].some((_, day) => has(of, day, kind)));
  return all.filter(isWanted);
}

/**
 * @param {Coverage} answer
 * @param {string | null} dag
 */
function heading(answer, dag) {
  const what = `${plural(answer.series.length, "series").replace(/seriess$/, "series")} by ${plural(answer.days, "day")}`;
  const all = dag && h("a", { href: `?${location.hash}` }, "All series");
  return h(
    "div",
    { class: "heading" },
    h("h1", {}, dag ? `Coverage of ${dag}` : "Coverage"),
    h("p", { class: "quiet" }, `${what}: ${sumLine(answer.series)} `, all),
  );
}

/** @param {string | null} dag */
function nothingYet(dag) {
  const what = dag ? "Nothing of this feed is loaded yet" : "Nothing is loaded yet";
  return note(
    what,
    "Switch on a DAG ",
    h("code", {}, "ingest_…"),
    " in Airflow: it loads the day before. A backfill of ",
    h("code", {}, "history_…"),
    " brings what was before. The series stand in ",
    h("code", {}, "feeds.toml"),
    ".",
  );
}

/**
 * @param {Context} context
 * @param {HTMLElement} body
 * @param {Coverage} shown
 * @param {string | null} kind
 */
function drawMap({ signal }, body, shown, kind) {
  // Of the address as it is by now: zooming changes it.
  const asked = Number(parseRoute(location.hash).query.get("days"));
  const days = asked || (innerWidth < NARROW ? DAYS_WHERE_NARROW : DAYS);
  const map = new CoverageMap(shown, kind, Math.min(days, shown.days));
  put(body, map.zoomer, map.map, map.says, sumTable(shown.series));
  map.begin(signal);
  performance.mark("coverage-painted");
}
