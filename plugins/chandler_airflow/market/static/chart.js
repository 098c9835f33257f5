// Candlesticks with their volume below, by the chart library; the small ones of a day, the large one of a series.

import { Bands } from "./bands.js";
import { fits } from "./dom.js";
import { gridOf, onGrid } from "./grid.js";
import {
  CandlestickSeries,
  createChart,
  createSeriesMarkers,
  HistogramSeries,
  LineSeries,
} from "./lightweight-charts.mjs";
import { decimals, price } from "./numbers.js";
import { readColours } from "./states.js";

/** @typedef {import("../types/answers.d.ts").Candles} Candles */
/** @typedef {import("./grid.js").Grid} Grid */
/** @typedef {import("./bands.js").Absence} Absence */
/** @typedef {ReturnType<typeof candleChart>} CandleChart */

const VOLUME_SHARE = 0.22;

/**
 * Make a chart that wears the theme and goes when its view does.
 * @param {HTMLElement} place
 * @param {AbortSignal} signal
 */
export function bareChart(place, signal) {
  const chart = createChart(place, {
    autoSize: true,
    // The page names the library in words: its logo would bring its own styles, which the page's policy refuses.
    layout: { attributionLogo: false, fontFamily: "system-ui, sans-serif", fontSize: 11 },
    timeScale: { timeVisible: true, secondsVisible: false, minBarSpacing: 0.2, rightOffset: 2 },
    rightPriceScale: { entireTextOnly: true },
    crosshair: { mode: 0 },
    // A finger that goes up or down scrolls the page.
    handleScroll: { vertTouchDrag: false },
  });
  const wear = () => {
    const { ground: color = "", quiet = "", line = "" } = readColours();
    chart.applyOptions({
      layout: { background: { color }, textColor: quiet, panes: { separatorColor: line, separatorHoverColor: line } },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
      timeScale: { borderColor: line },
      rightPriceScale: { borderColor: line },
    });
  };
  wear();
  document.addEventListener("theme", wear, { signal });
  signal.addEventListener("abort", () => chart.remove());
  for (const canvas of place.querySelectorAll("tr:last-child canvas"))
    writeTimesWhole(/** @type {HTMLCanvasElement} */ (canvas));
  return chart;
}

/**
 * Leave out a time that an edge of the chart would cut: the library draws what is left of it, which is another time.
 * @param {HTMLCanvasElement} canvas One of those that the library draws its axis of time on.
 */
function writeTimesWhole(canvas) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const write = context.fillText.bind(context);
  context.fillText = (text, x, y) => {
    if (fits(context, text, x, canvas.clientWidth)) write(text, x, y);
  };
}

/**
 * @param {HTMLElement} place
 * @param {AbortSignal} signal
 */
export function candleChart(place, signal) {
  const chart = bareChart(place, signal);
  const candles = chart.addSeries(CandlestickSeries, {
    borderVisible: false,
    priceLineVisible: false,
    lastValueVisible: false, // its label would cover one of the axis
  });
  const volume = chart.addSeries(
    HistogramSeries,
    { priceFormat: { type: "volume" }, priceLineVisible: false, lastValueVisible: false },
    1,
  );
  const other = chart.addSeries(LineSeries, {
    lineWidth: 1,
    priceLineVisible: false,
    lastValueVisible: false,
    crosshairMarkerVisible: false,
  });
  const [top, below] = chart.panes();
  top?.setStretchFactor(1 - VOLUME_SHARE);
  below?.setStretchFactor(VOLUME_SHARE);
  const bands = new Bands();
  candles.attachPrimitive(bands);
  const wear = () => {
    const { up, down, flagged } = readColours();
    candles.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down });
    other.applyOptions({ color: flagged });
  };
  wear();
  document.addEventListener("theme", wear, { signal });
  return { chart, candles, volume, other, bands, markers: createSeriesMarkers(candles, []) };
}

/**
 * @param {CandleChart} made
 * @param {Grid} grid
 */
export function fillChart({ candles, volume, other }, grid) {
  const { open, high, low, close, volume: volumes } = grid.candles;
  const { up = "", down = "" } = readColours();
  const precision = decimals([...close, ...high]);
  const formatter = (/** @type {number} */ value) => price(value, precision);
  const priceFormat = { type: /** @type {const} */ ("custom"), formatter, minMove: 10 ** -precision };
  candles.applyOptions({ priceFormat });
  other.applyOptions({ priceFormat });
  const value = (/** @type {number[]} */ of, /** @type {number} */ index) => of[index] ?? 0;
  candles.setData(
    onGrid(grid, (index) => ({
      open: value(open, index),
      high: value(high, index),
      low: value(low, index),
      close: value(close, index),
    })),
  );
  volume.setData(
    onGrid(grid, (index) => ({
      value: value(volumes, index),
      color: `${value(close, index) >= value(open, index) ? up : down}99`,
    })),
  );
}

/**
 * Draw another venue's closes as a line, where both have a candle.
 * @param {CandleChart} made
 * @param {Grid} grid
 * @param {Candles | null} beside
 */
export function fillOther({ other }, grid, beside) {
  const pairs = beside?.time_s.map((time, index) => /** @type {[number, number]} */ ([time, beside.close[index] ?? 0]));
  const closes = new Map((pairs ?? []).filter(([time]) => grid.at.has(time)));
  const at = new Map([...closes.keys()].map((time) => [time, time]));
  other.setData(closes.size ? onGrid({ ...grid, at }, (time) => ({ value: closes.get(time) ?? 0 })) : []);
}

/**
 * Draw a day once, as large as its place: nothing in it moves.
 * @param {HTMLElement} place
 * @param {Candles} candles
 * @param {Absence[]} absences
 * @param {AbortSignal} signal
 */
export function smallChart(place, candles, absences, signal) {
  const grid = gridOf(candles);
  place.hidden = !grid;
  if (!grid) return;
  place.replaceChildren();
  const made = candleChart(place, signal);
  made.chart.applyOptions({ handleScroll: false, handleScale: false });
  const draw = () => {
    fillChart(made, grid);
    made.bands.show(grid, absences, readColours());
  };
  draw();
  document.addEventListener("theme", draw, { signal });
  made.chart.timeScale().fitContent();
}
