// Moves through a series: asks for what is about to be seen, and keeps what is shown until that is there.

import { ApiError, address, getJson } from "./api.js";
import { fillChart } from "./chart.js";
import { put } from "./dom.js";
import { gridOf, onGrid, placeOf, secondsOf, timeAt, widthFor } from "./grid.js";
import { incidentOf, markersOf, NO_MARKS } from "./marks.js";
import { moment } from "./numbers.js";
import { remember } from "./route.js";
import { readColours } from "./states.js";
import { lastSeen, tellChart, tellCursor } from "./telling.js";
import { failure } from "./waiting.js";

/** @typedef {import("../types/answers.d.ts").SeriesInfo} SeriesInfo */
/** @typedef {import("../types/answers.d.ts").Bars} Bars */
/** @typedef {import("../types/answers.d.ts").Marks} Marks */
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

/**
 * @param {CandleChart} made
 * @param {Parts} parts
 * @param {SeriesInfo} info
 * @param {Span} bounds Where there are candles at all.
 * @param {Span} first What is to be seen first.
 * @param {Choices} chosen
 * @param {AbortSignal} signal
 */
export function explore(made, parts, info, bounds, first, chosen, signal) {
  const scale = made.chart.timeScale();
  const finest = secondsOf(info.timeframe);
  const choices = { ...chosen };
  let marks = NO_MARKS;
  /** @type {Bars | null} */
  let beside = null;
  /** @type {Grid | null} */
  let grid = null;
  /** @type {Span} What was asked for; what is loaded covers it. */
  let loaded = { start: 0, end: 0 };
  let seen = first;
  let timer = 0;
  let isMine = false;
  let asking = new AbortController();

  /** @param {Span} span */
  const place = (span) => {
    seen = span;
    if (!grid) return;
    isMine = true;
    scale.setVisibleLogicalRange({ from: placeOf(grid, span.start), to: placeOf(grid, span.end) - 1 });
    requestAnimationFrame(() => (isMine = false));
  };

  const ask = async () => {
    asking.abort();
    asking = new AbortController();
    const both = AbortSignal.any([signal, asking.signal]);
    const want = wanted(seen, bounds);
    const asked = { start: iso(want.start), end: iso(want.end), most: MOST };
    const bars = (/** @type {string} */ series) =>
      getJson("/chandler/api/bars", { series, ...asked, as_of: choices.asOf }, both);
    try {
      const range = { series: info.series, start: asked.start, end: asked.end };
      const [own, found, other] = await Promise.all([
        bars(info.series),
        getJson("/chandler/api/marks", range, both),
        choices.with ? bars(choices.with) : null,
      ]);
      if (both.aborted) return;
      put(parts.trouble);
      [loaded, marks, beside] = [want, found, other];
      draw(own);
    } catch (error) {
      if (both.aborted) return;
      if (!(error instanceof ApiError)) console.error(error);
      put(parts.trouble, failure(error, ask));
    }
  };

  /** @param {Bars} own */
  const draw = (own) => {
    const next = gridOf(own);
    parts.past.hidden = !choices.asOf;
    parts.past.textContent = `The past is shown: what was held on ${moment(choices.asOf ?? 0)}.`;
    parts.chart.classList.toggle("is-past", choices.asOf !== null);
    parts.chart.dataset.width = own.width;
    parts.chart.dataset.bars = String(own.time_s.length);
    grid = next;
    if (!next) {
      for (const series of [made.candles, made.volume, made.other]) series.setData([]);
      made.markers.setMarkers([]);
      parts.says.textContent = parts.under.textContent = "No candle is held in this range.";
      return;
    }
    isMine = true;
    fillChart(made, next);
    drawOther(made, next, beside);
    decorate();
    place(seen);
    tellChart(parts.says, next, seen, marks);
    tellCursor(parts.under, next, marks, lastSeen(next, seen));
  };

  const decorate = () => {
    if (!grid) return;
    made.markers.setMarkers(markersOf(marks, grid));
    made.bands.show(grid, marks.absences, readColours());
  };

  /** @param {{ from: number, to: number } | null} range */
  const moved = (range) => {
    if (!range || !grid || isMine) return;
    seen = { start: timeAt(grid, range.from), end: timeAt(grid, range.to + 1) };
    clearTimeout(timer);
    timer = setTimeout(settle, WAIT_MS);
  };

  const settle = () => {
    if (signal.aborted || !grid) return;
    remember({ start: iso(seen.start), end: iso(seen.end) });
    tellChart(parts.says, grid, seen, marks);
    tellCursor(parts.under, grid, marks, lastSeen(grid, seen));
    const width = widthFor(wanted(seen, bounds), finest, MOST);
    const least = (seen.end - seen.start) * LEAST_LEFT;
    const isShort =
      (seen.start - least < loaded.start && loaded.start > bounds.start) ||
      (seen.end + least > loaded.end && loaded.end < bounds.end);
    if (isShort || width !== grid.step) ask();
  };

  /** @param {Span} span */
  const go = (span) => {
    place(span);
    remember({ start: iso(span.start), end: iso(span.end) });
    ask();
  };

  scale.subscribeVisibleLogicalRangeChange(moved);
  made.chart.subscribeCrosshairMove(
    ({ time }) => grid && tellCursor(parts.under, grid, marks, time ? Number(time) : lastSeen(grid, seen)),
  );
  made.chart.subscribeClick((click) => {
    const incident = incidentOf(click.hoveredInfo?.objectId);
    if (incident !== null) location.assign(address("/chandler/incident", { id: incident }));
  });
  parts.chart.addEventListener("keydown", (event) => {
    const span = pressed(event, seen, bounds);
    if (span) go(span);
  });
  document.addEventListener("theme", () => grid && draw(grid.bars), { signal });
  ask();
  return {
    go,
    choose: (/** @type {Partial<Choices>} */ change) => {
      Object.assign(choices, change);
      ask();
    },
  };
}

/**
 * Return what to ask for: what is seen with a margin, as far as there is anything.
 * @param {Span} seen
 * @param {Span} bounds
 * @returns {Span}
 */
function wanted(seen, bounds) {
  const margin = (seen.end - seen.start) * MARGIN;
  const start = Math.max(seen.start - margin, bounds.start);
  const end = Math.min(seen.end + margin, bounds.end);
  return start < end ? { start, end } : bounds;
}

/**
 * @param {CandleChart} made
 * @param {Grid} grid
 * @param {Bars | null} other
 */
function drawOther(made, grid, other) {
  const closes = other ? new Map(other.time_s.map((time, index) => [time, other.close[index] ?? 0])) : null;
  const times = new Set(grid.bars.time_s);
  made.other.setData(
    onGrid(
      { ...grid, at: new Map([...(closes?.keys() ?? [])].filter((time) => times.has(time)).map((t) => [t, t])) },
      (time) => ({
        value: closes?.get(time) ?? 0,
      }),
    ),
  );
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
  const shifted = (/** @type {number} */ by) => ({ start: seen.start + by, end: seen.end + by });
  const spans = /** @type {Record<string, Span>} */ ({
    ArrowLeft: shifted(-width / 10),
    ArrowRight: shifted(width / 10),
    Home: { start: bounds.start, end: bounds.start + width },
    End: { start: bounds.end - width, end: bounds.end },
    "+": { start: seen.start + width / 4, end: seen.end - width / 4 },
    "=": { start: seen.start + width / 4, end: seen.end - width / 4 },
    "-": { start: seen.start - width / 2, end: seen.end + width / 2 },
  });
  const span = spans[event.key];
  if (!span) return null;
  event.preventDefault();
  return span;
}

/** @param {number} seconds */
const iso = (seconds) => `${new Date(Math.round(seconds) * 1000).toISOString().slice(0, 16)}Z`;
