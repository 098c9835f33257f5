// Shades the stretches of a chart where candles are absent, in the colour of why, which an edge at the top has in full.

import { placeOf } from "./grid.js";
import { fillOf } from "./patterns.js";

/** @typedef {import("./grid.js").Grid} Grid */
/** @typedef {import("./lightweight-charts.mjs").ISeriesPrimitive} ISeriesPrimitive */
/** @typedef {import("./lightweight-charts.mjs").SeriesAttachedParameter} Attached */
/** @typedef {import("./lightweight-charts.mjs").IPrimitivePaneRenderer} Renderer */
/** @typedef {{ start: string, end: string, kind: string }} Absence */

const LEAST_WIDTH = 2;
const SHADE = 0.2;
const EDGE = 6; // CSS pixels

/** @implements {ISeriesPrimitive} */
export class Bands {
  /** @type {Attached | null} */
  #attached = null;
  /** @type {Grid | null} */
  #grid = null;
  /** @type {Absence[]} */
  #absences = [];
  /** @type {Record<string, string>} */
  #colours = {};

  /** @param {Attached} attached */
  attached(attached) {
    this.#attached = attached;
  }

  detached() {
    this.#attached = null;
  }

  /**
   * @param {Grid} grid
   * @param {Absence[]} absences
   * @param {Record<string, string>} colours
   */
  show(grid, absences, colours) {
    [this.#grid, this.#absences, this.#colours] = [grid, absences, colours];
    this.#attached?.requestUpdate();
  }

  paneViews() {
    /** @type {Renderer} */
    const renderer = { draw: (target) => target.useBitmapCoordinateSpace((scope) => this.#draw(scope)) };
    return [{ zOrder: () => /** @type {const} */ ("bottom"), renderer: () => renderer }];
  }

  /** @param {{ context: CanvasRenderingContext2D, bitmapSize: { height: number }, horizontalPixelRatio: number }} scope */
  #draw({ context, bitmapSize, horizontalPixelRatio: ratio }) {
    const [grid, range] = [this.#grid, this.#attached?.chart.timeScale().getVisibleLogicalRange()];
    const width = this.#attached?.chart.timeScale().width() ?? 0;
    if (!grid || !range) return;
    // A candle's place is its middle, so what is absent begins half a place before it.
    const x = (/** @type {string} */ time) => {
      const place = placeOf(grid, Date.parse(time) / 1000) - 0.5;
      return ((place - range.from + 0.5) / (range.to - range.from + 1)) * width * ratio;
    };
    for (const { start, end, kind } of this.#absences) {
      const from = x(start);
      const width = Math.max(x(end) - from, LEAST_WIDTH * ratio);
      context.fillStyle = fillOf(context, this.#colours, kind, 1);
      context.globalAlpha = SHADE;
      context.fillRect(from, 0, width, bitmapSize.height);
      context.globalAlpha = 1;
      context.fillRect(from, 0, width, EDGE * ratio);
    }
  }
}
