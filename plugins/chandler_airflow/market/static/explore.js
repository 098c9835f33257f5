// Moves through a series: asks for what is about to be seen, and keeps what is shown until that is there.

import { ApiError, address, getJson } from "./api.js";
import { fillChart, fillOther } from "./chart.js";
import { put } from "./dom.js";
import { gridOf, placeOf, secondsOf, timeAt, widthFor, within, withMargin } from "./grid.js";
import { incidentOf, markersOf, NO_MARKS } from "./marks.js";
import { moment } from "./numbers.js";
import { remember } from "./route.js";
import { readColours } from "./states.js";
import { lastSeen, tellChart, tellCursor } from "./telling.js";
import { failure } from "./waiting.js";

/** @typedef {import("../types/answers.d.ts").SeriesInfo} SeriesInfo */
/** @typedef {import("../types/answers.d.ts").Candles} Candles */
/** @typedef {import("./chart.js").CandleChart} CandleChart */
/** @typedef {import("./grid.js").Grid} Grid */
/** @typedef {import("./grid.js").Span} Span */
/** @typedef {Record<"chart" | "under" | "says" | "past" | "trouble", HTMLElement>} Parts */
/** @typedef {{ with: string | null, asOf: string | null }} Choices */

const MOST = 1500;
const WAIT_MS = 150;
// What is asked for on either side of what is seen, and how little of it may be left before more is asked for.
const MARGIN = 0.9;
const LEAST_LEFT = 0.25;
// How many candles are seen at least.
const FEWEST = 2;
const UNMARKED = "Absences, revisions, anomalies and incidents are known as of now, so that none is marked.";

export class Explorer {
  #made;
  #parts;
  #series;
  #finest;
  #bounds;
  #choices;
  #signal;
  #seen;
  #scale;
  #marks = NO_MARKS;
  /** @type {Candles | null} Another venue's. */
  #beside = null;
  /** @type {Grid | null} */
  #grid = null;
  /** @type {string | null} The moment as of which that is. */
  #asOf = null;
  /** @type {Span} What was asked for; what is loaded covers it. */
  #loaded = { start: 0, end: 0 };
  /** In seconds, as wide as candles should be; those that come may be wider. */
  #width = 0;
  #timer = 0;
  // The chart reports where we put it ourselves too.
  #isMine = false;
  #asking = new AbortController();

  /**
   * @param {CandleChart} made
   * @param {Parts} parts
   * @param {SeriesInfo} info
   * @param {Span} bounds Where there are candles at all.
   * @param {Span} seen What is to be seen first.
   * @param {Choices} choices
   * @param {AbortSignal} signal
   */
  constructor(made, parts, { series, timeframe }, bounds, seen, choices, signal) {
    this.#made = made;
    this.#parts = parts;
    this.#series = series;
    this.#bounds = bounds;
    this.#choices = choices;
    this.#signal = signal;
    this.#finest = secondsOf(timeframe);
    this.#seen = within(seen, FEWEST * this.#finest, bounds);
    this.#scale = made.chart.timeScale();
    this.#scale.subscribeVisibleLogicalRangeChange((range) => this.#moved(range));
    made.chart.subscribeCrosshairMove(({ time }) => this.#tellCursor(time ? Number(time) : null));
    made.chart.subscribeClick(({ hoveredInfo }) => {
      const incident = incidentOf(hoveredInfo?.objectId);
      if (incident !== null) location.assign(address("/chandler/incident", { id: incident }));
    });
    parts.chart.addEventListener("keydown", (event) => {
      const span = pressed(event, this.#seen, bounds);
      if (span) this.go(span);
    });
    document.addEventListener("theme", () => this.#grid && this.#draw(this.#grid.candles), { signal });
    this.#ask();
  }

  /** @param {Span} span */
  go(span) {
    this.#place(within(span, FEWEST * this.#finest, this.#bounds));
    remember({ start: iso(this.#seen.start), end: iso(this.#seen.end) });
    this.#ask();
  }

  /** @param {Partial<Choices>} change */
  choose(change) {
    this.#choices = { ...this.#choices, ...change };
    this.#ask();
  }

  async #ask() {
    this.#asking.abort();
    this.#asking = new AbortController();
    const signal = AbortSignal.any([this.#signal, this.#asking.signal]);
    const [want, { asOf }] = [this.#wanted(), this.#choices];
    this.#width = widthFor(want, this.#finest, MOST);
    try {
      const answers = await this.#read(want, signal);
      if (signal.aborted) return;
      put(this.#parts.trouble);
      this.#loaded = want;
      [this.#marks, this.#beside, this.#asOf] = [answers.marks, answers.beside, asOf];
      // The archive alone has days, however little of them is asked for.
      const least = FEWEST * secondsOf(answers.candles.width);
      if (this.#seen.end - this.#seen.start < least) this.#seen = within(this.#seen, least, this.#bounds);
      this.#draw(answers.candles);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) console.error(error);
      // What is shown may stay, but not as another moment than it is of.
      if (asOf !== this.#asOf) {
        this.#asOf = null;
        this.#tellPast();
        this.#empty("");
      }
      put(
        this.#parts.trouble,
        failure(error, () => {
          this.#parts.chart.focus();
          this.#ask();
        }),
      );
    }
  }

  /** What is asked for: of the past, which takes longer to find out, no more than what is seen. */
  #wanted() {
    return withMargin(this.#seen, this.#choices.asOf ? 0 : MARGIN, this.#bounds);
  }

  /**
   * @param {Span} want
   * @param {AbortSignal} signal
   */
  async #read(want, signal) {
    const range = { start: iso(want.start), end: iso(want.end) };
    const { asOf } = this.#choices;
    const read = (/** @type {string} */ series) =>
      getJson("/chandler/api/candles", { series, ...range, most: MOST, as_of: asOf }, signal);
    const [candles, marks, beside] = await Promise.all([
      read(this.#series),
      // Marks are those of now, whenever it is looked at from.
      asOf ? NO_MARKS : getJson("/chandler/api/marks", { series: this.#series, ...range }, signal),
      this.#choices.with ? read(this.#choices.with) : null,
    ]);
    return { candles, marks, beside };
  }

  /** @param {Candles} candles */
  #draw(candles) {
    const { chart } = this.#parts;
    this.#tellPast();
    [chart.dataset.width, chart.dataset.candles] = [candles.width, String(candles.time_s.length)];
    this.#grid = gridOf(candles);
    if (!this.#grid) {
      this.#empty("No candle is held in this range.");
      return;
    }
    const [made, grid, marks] = [this.#made, this.#grid, this.#marks];
    this.#move(() => {
      fillChart(made, grid);
      fillOther(made, grid, this.#beside);
      made.markers.setMarkers(markersOf(marks, grid));
      made.bands.show(grid, marks.absences, readColours());
    });
    this.#place(this.#seen);
    this.#tell();
  }

  /** @param {string} why */
  #empty(why) {
    this.#grid = null;
    this.#move(() => {
      for (const series of [this.#made.candles, this.#made.volume, this.#made.other]) series.setData([]);
      this.#made.markers.setMarkers([]);
    });
    this.#parts.says.textContent = this.#parts.under.textContent = why;
  }

  /** @param {Span} span */
  #place(span) {
    this.#seen = span;
    if (!this.#grid) return;
    const [from, to] = [placeOf(this.#grid, span.start), placeOf(this.#grid, span.end) - 1];
    // Until finer candles have come, less than one of them may be wanted.
    this.#move(() => this.#scale.setVisibleLogicalRange({ from, to: Math.max(from, to) }));
  }

  /** @param {() => void} change What the chart is to take for our doing, and not for the user's. */
  #move(change) {
    this.#isMine = true;
    try {
      change();
    } finally {
      requestAnimationFrame(() => {
        this.#isMine = false;
      });
    }
  }

  /** @param {{ from: number, to: number } | null} range */
  #moved(range) {
    if (!range || !this.#grid || this.#isMine) return;
    this.#seen = { start: timeAt(this.#grid, range.from), end: timeAt(this.#grid, range.to + 1) };
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#settle(), WAIT_MS);
  }

  #settle() {
    if (this.#signal.aborted || !this.#grid) return;
    const { start, end } = this.#seen;
    remember({ start: iso(start), end: iso(end) });
    this.#tell();
    const want = this.#wanted();
    const isWide = this.#loaded.end - this.#loaded.start > 2 * (want.end - want.start);
    const least = (end - start) * LEAST_LEFT;
    const isShort =
      (start - least < this.#loaded.start && this.#loaded.start > this.#bounds.start) ||
      (end + least > this.#loaded.end && this.#loaded.end < this.#bounds.end);
    if (isShort || isWide || widthFor(want, this.#finest, MOST) !== this.#width) this.#ask();
  }

  #tell() {
    if (this.#grid) tellChart(this.#parts.says, this.#grid, this.#seen, this.#marks);
    this.#tellCursor(null);
  }

  /** @param {number | null} time */
  #tellCursor(time) {
    if (!this.#grid) return;
    tellCursor(this.#parts.under, this.#grid, this.#marks, time ?? lastSeen(this.#grid, this.#seen));
  }

  #tellPast() {
    const { past, chart } = this.#parts;
    past.hidden = !this.#asOf;
    past.textContent = `The past is shown: what was held on ${moment(this.#asOf)}. ${UNMARKED}`;
    chart.classList.toggle("is-past", this.#asOf !== null);
  }
}

/**
 * Return what a key leads to; null if it is none of ours.
 * @param {KeyboardEvent} event
 * @param {Span} seen
 * @param {Span} bounds
 * @returns {Span | null}
 */
function pressed(event, seen, bounds) {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  const width = seen.end - seen.start;
  const by = (/** @type {number} */ left, /** @type {number} */ right) => ({
    start: seen.start + left * width,
    end: seen.end + right * width,
  });
  const spans = /** @type {Record<string, Span>} */ ({
    ArrowLeft: by(-0.1, -0.1),
    ArrowRight: by(0.1, 0.1),
    Home: { start: bounds.start, end: bounds.start + width },
    End: { start: bounds.end - width, end: bounds.end },
    "+": by(0.25, -0.25),
    "=": by(0.25, -0.25),
    "-": by(-0.5, 0.5),
  });
  const span = spans[event.key];
  if (span) event.preventDefault();
  return span ?? null;
}

/** @param {number} seconds */
const iso = (seconds) => `${new Date(Math.round(seconds) * 1000).toISOString().slice(0, 16)}Z`;
