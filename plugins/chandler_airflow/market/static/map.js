// The heat map on the page: its labels, its axis, what scrolls and zooms.

import { paintAxis } from "./axis.js";
import { h, oncePerFrame, prepareCanvas } from "./dom.js";
import { followHand } from "./hand.js";
import { paintCells, ROW } from "./heatmap.js";
import { plural } from "./numbers.js";
import { hashOf, remember } from "./route.js";
import { readColours } from "./states.js";

/** @typedef {import("../types/answers.d.ts").Coverage} Coverage */
/** @typedef {import("../types/answers.d.ts").SeriesCoverage} SeriesCoverage */
/** @typedef {import("./heatmap.js").View} View */
/** @typedef {import("./heatmap.js").Row} Row */

const AXIS = 38;
const LEAST_DAYS = 10;
const SPANS = [30, 90, 365, 730];
const HELP =
  "Coverage: series downwards, days across. Arrow keys move, Page Up and Page Down by months, Home and End to the " +
  "ends, Enter opens the day, plus and minus zoom. The same in sums stands below as a table.";

export class CoverageMap {
  #axis = h("canvas");
  #canvas = h("canvas");
  #top = h("div", { class: "axis" }, this.#axis);
  #cells = h("div", { class: "cells" }, this.#canvas);
  #labels;
  #frame;
  /** @type {View} */
  #view;
  #span;
  #repaint = oncePerFrame(() => this.#paint());

  says = h("p", { id: "map-says", class: "hidden", "aria-live": "polite" });
  /** What has the focus. */
  map;
  zoomer = this.#buttons();

  /**
   * @param {Coverage} shown
   * @param {string | null} kind The one kind that is wanted.
   * @param {number} span How many days are seen at once.
   */
  constructor(shown, kind, span) {
    const rows = rowsOf(shown.series);
    this.#labels = h("div", { class: "labels" }, ...rows.map(labelOf));
    this.#frame = h("div", { class: "frame" }, h("div", { class: "corner" }), this.#top, this.#labels, this.#cells);
    this.map = h(
      "div",
      { id: "map", tabindex: 0, role: "application", "aria-roledescription": "heat map", "aria-label": HELP },
      this.#frame,
    );
    this.#span = span;
    const [startMs, colours] = [Date.parse(shown.start), readColours()];
    const unknown = { cell: 1, left: 0, top: 0, width: 0, height: 0 };
    this.#view = { startMs, days: shown.days, rows, kind, colours, cursor: null, ...unknown };
  }

  /**
   * Paint it, once it is on the page, and follow what happens to it.
   * @param {AbortSignal} signal
   */
  begin(signal) {
    this.#measure();
    this.#frame.scrollLeft = this.#frame.scrollWidth;
    this.#paint();
    this.#frame.addEventListener("scroll", this.#repaint, { passive: true });
    const resized = new ResizeObserver(() => this.#resize());
    resized.observe(this.#frame);
    signal.addEventListener("abort", () => resized.disconnect());
    document.addEventListener("theme", () => this.#recolour(), { signal });
    followHand({
      map: this.map,
      frame: this.#frame,
      cells: this.#cells,
      view: this.#view,
      says: this.says,
      repaint: this.#repaint,
      zoom: (factor, at) => this.#zoom(this.#span * factor, at),
    });
  }

  #measure() {
    const view = this.#view;
    view.width = this.#frame.clientWidth - this.#labels.offsetWidth;
    view.height = this.#frame.clientHeight - AXIS;
    view.cell = Math.max(view.width / this.#span, 0.5);
    this.#cells.style.width = this.#top.style.width = `${Math.ceil(view.cell * view.days)}px`;
    this.#cells.style.height = `${view.rows.length * ROW}px`;
  }

  #paint() {
    const view = this.#view;
    [view.left, view.top] = [this.#frame.scrollLeft, this.#frame.scrollTop];
    paintAxis(prepareCanvas(this.#axis, view.width, AXIS), view);
    paintCells(prepareCanvas(this.#canvas, view.width, Math.min(view.height, view.rows.length * ROW)), view);
  }

  #resize() {
    const { scrollLeft, scrollWidth } = this.#frame;
    const isAtEnd = scrollLeft + this.#view.width >= scrollWidth - 2;
    this.#measure();
    if (isAtEnd) this.#frame.scrollLeft = this.#frame.scrollWidth;
    this.#repaint();
  }

  #recolour() {
    this.#view.colours = readColours();
    this.#repaint();
  }

  /**
   * @param {number} days
   * @param {number} [at] What stays where it is: 0 the left edge, 1 the right one.
   */
  #zoom(days, at = 1) {
    const view = this.#view;
    const fixed = (view.left + at * view.width) / view.cell;
    this.#span = Math.min(Math.max(days, LEAST_DAYS), view.days);
    this.#measure();
    this.#frame.scrollLeft = fixed * view.cell - at * view.width;
    remember({ days: Math.round(this.#span) });
    this.#repaint();
  }

  #buttons() {
    const step = (/** @type {string} */ text, /** @type {string} */ name, /** @type {number} */ factor) =>
      h("button", { type: "button", "aria-label": name, onclick: () => this.#zoom(this.#span * factor) }, text);
    const preset = (/** @type {number} */ days) => {
      const name = days < 365 ? plural(days, "day") : plural(days / 365, "year");
      return h("button", { type: "button", "data-days": days, onclick: () => this.#zoom(days) }, name);
    };
    const steps = [step("−", "More days", 1.5), step("+", "Fewer days", 1 / 1.5)];
    return h("div", { class: "bar", role: "group", "aria-label": "Days shown" }, ...SPANS.map(preset), ...steps);
  }
}

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
