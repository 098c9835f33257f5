// The view of all series by days: which candles are held, which are not, and why.

import { getJson } from "./api.js";
import { h, oncePerFrame, prepareCanvas, put } from "./dom.js";
import { followHand } from "./hand.js";
import { has, paintAxis, paintCells, ROW } from "./heatmap.js";
import { plural } from "./numbers.js";
import { hashOf, remember } from "./route.js";
import { KINDS, readColours, STORED } from "./states.js";
import { sumLine, sumTable } from "./sums.js";
import { load, note } from "./waiting.js";

/** @typedef {import("./market.js").Context} Context */
/** @typedef {import("../types/answers.d.ts").Coverage} Coverage */
/** @typedef {import("../types/answers.d.ts").SeriesCoverage} SeriesCoverage */
/** @typedef {import("./heatmap.js").View} View */
/**
 * The heat map as a thing that can be painted and pointed at.
 * @typedef {object} HeatMap
 * @property {View} view
 * @property {HTMLElement} frame
 * @property {() => void} repaint
 * @property {(series: string, day: string) => { x: number, y: number } | null} cellAt
 */

const AXIS = 38;
const SPANS = [30, 90, 365, 730];
const MARKS = [
  { name: "refused", label: "refused", help: "rows that came, and broke a rule" },
  { name: "revised", label: "revised", help: "candles that the exchange changed after they had closed" },
];

/** @param {Context} context */
export function show(context) {
  const { place, signal, dag } = context;
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
  put(place, heading(answer, dag), legend(answer, kind), body);
  const fill = () => {
    const shown = wanted(answer.series, filter.value, kind);
    if (shown.length) drawMap(context, body, { ...answer, series: shown }, kind);
    else
      put(
        body,
        note("No series is like that", h("a", { href: "#coverage", onclick: () => (filter.value = "") }, "Show all")),
      );
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
 * @param {Coverage} answer
 * @param {string | null} chosen
 */
function legend(answer, chosen) {
  const letters = new Set(answer.series.flatMap((of) => [...of.states]));
  const others = new Set(answer.series.flatMap((of) => Object.values(of.missing).flatMap(Object.keys)));
  const kinds = [STORED, ...KINDS].filter((kind) => letters.has(kind.letter) || others.has(kind.name));
  const marks = MARKS.filter(
    ({ name }) => !kinds.some((kind) => kind.name === name) && answer.series.some((of) => hasMarks(of, name)),
  );
  const entry = (
    /** @type {{ name: string, label: string, help: string }} */ { name, label, help },
    isMark = false,
  ) => {
    const isOn = chosen === name;
    const go = () => (location.hash = hashOf("coverage", [], { kind: isOn ? null : name }));
    const swatch = h("i", { class: `swatch of-${name}${isMark ? " mark" : ""}` });
    return h(
      "button",
      { type: "button", "data-kind": name, "aria-pressed": String(isOn), title: help, onclick: go },
      swatch,
      label,
    );
  };
  return h(
    "div",
    { class: "legend", role: "group", "aria-label": "Show only the days with" },
    ...kinds.map((kind) => entry(kind)),
    ...marks.map((mark) => entry(mark, true)),
  );
}

/**
 * @param {SeriesCoverage} of
 * @param {string} name
 */
function hasMarks(of, name) {
  return Object.keys(name === "refused" ? of.refused : of.revised).length > 0;
}

/**
 * @param {Context} context
 * @param {HTMLElement} body
 * @param {Coverage} shown
 * @param {string | null} kind
 */
function drawMap({ signal, route }, body, shown, kind) {
  const [axis, canvas] = [h("canvas"), h("canvas")];
  const cells = h("div", { class: "cells" }, canvas);
  const top = h("div", { class: "axis" }, axis);
  const rows = rowsOf(shown.series);
  const labels = h("div", { class: "labels" }, ...rows.map(labelOf));
  const frame = h("div", { class: "frame" }, h("div", { class: "corner" }), top, labels, cells);
  const says = h("p", { id: "map-says", class: "hidden", "aria-live": "polite" });
  const map = h(
    "div",
    { id: "map", tabindex: 0, role: "application", "aria-roledescription": "heat map", "aria-label": help },
    frame,
  );
  const view = /** @type {View} */ ({
    startMs: Date.parse(shown.start),
    days: shown.days,
    rows,
    kind,
    cursor: null,
    colours: readColours(),
  });
  const measure = () => {
    const label = labels.offsetWidth;
    Object.assign(view, { width: frame.clientWidth - label, height: frame.clientHeight - AXIS });
    view.cell = Math.max(view.width / span, 0.5);
    const size = `${Math.ceil(view.cell * view.days)}px`;
    [cells.style.width, top.style.width] = [size, size];
    cells.style.height = `${rows.length * ROW}px`;
  };
  const paint = () => {
    Object.assign(view, { left: frame.scrollLeft, top: frame.scrollTop });
    paintAxis(prepareCanvas(axis, view.width, AXIS), view);
    paintCells(prepareCanvas(canvas, view.width, Math.min(view.height, rows.length * ROW)), view);
  };
  const repaint = oncePerFrame(paint);
  let span = Number(route.query.get("days")) || (innerWidth < 600 ? 30 : 90);
  const zoom = (/** @type {number} */ days, at = 1) => {
    const middle = (view.left + at * view.width) / view.cell;
    span = Math.min(Math.max(days, 10), view.days);
    measure();
    frame.scrollLeft = middle * view.cell - at * view.width;
    remember({ days: Math.round(span) });
    repaint();
  };
  put(
    body,
    zoomer(zoom, () => span),
    map,
    says,
    sumTable(shown.series),
  );
  measure();
  frame.scrollLeft = frame.scrollWidth;
  paint();
  performance.mark("coverage-painted");
  frame.addEventListener("scroll", repaint, { passive: true });
  const resized = new ResizeObserver(() => {
    const right = frame.scrollLeft + view.width >= frame.scrollWidth - 2;
    measure();
    if (right) frame.scrollLeft = frame.scrollWidth;
    repaint();
  });
  resized.observe(frame);
  signal.addEventListener("abort", () => resized.disconnect());
  const recolour = () => {
    view.colours = readColours();
    repaint();
  };
  document.addEventListener("theme", recolour, { signal });
  followHand({ map, frame, cells, view, says, repaint, zoom: (factor, at) => zoom(span * factor, at) });
}

const help =
  "Coverage: series downwards, days across. Arrow keys move, Page Up and Page Down by months, Home and End to the " +
  "ends, Enter opens the day, plus and minus zoom. The same in sums stands below as a table.";

/**
 * @param {SeriesCoverage[]} all
 * @returns {import("./heatmap.js").Row[]}
 */
function rowsOf(all) {
  const groups = Map.groupBy(all, (of) => of.series.split(":")[0] ?? "");
  return [...groups].flatMap(([group, members]) => [{ group }, ...members.map((of) => ({ group: null, of }))]);
}

/** @param {import("./heatmap.js").Row} row */
function labelOf(row) {
  if (row.group !== null) return h("div", { class: "group" }, row.group);
  const [, symbol = "", timeframe = ""] = row.of.series.split(":");
  const link = { href: hashOf("series", [row.of.series]), "data-series": row.of.series, title: row.of.series };
  return h("a", { ...link, tabindex: -1 }, h("span", {}, symbol), h("small", {}, timeframe));
}

/**
 * @param {(days: number) => void} zoom
 * @param {() => number} span
 */
function zoomer(zoom, span) {
  const step = (/** @type {string} */ text, /** @type {string} */ name, /** @type {number} */ factor) =>
    h("button", { type: "button", "aria-label": name, onclick: () => zoom(span() * factor) }, text);
  return h(
    "div",
    { class: "bar", role: "group", "aria-label": "Days shown" },
    ...SPANS.map((days) =>
      h(
        "button",
        { type: "button", "data-days": days, onclick: () => zoom(days) },
        days < 365 ? `${days} days` : `${days / 365} y`,
      ),
    ),
    step("−", "More days", 1.5),
    step("+", "Fewer days", 1 / 1.5),
  );
}
