// Fills of the heat map and the charts: a plain colour, or lines of it on the ground, told apart without any colour.

import { KINDS } from "./states.js";

/** @typedef {import("./states.js").Pattern} Pattern */

const TILE = 6; // CSS pixels
const PATTERNS = Object.fromEntries(KINDS.map((kind) => [kind.name, kind.pattern]));

/** @type {Map<string, CanvasPattern>} */
const made = new Map();

/**
 * Return what fills the places of a kind; patterns of neighbours go on in one another.
 * @param {CanvasRenderingContext2D} context
 * @param {Record<string, string>} colours
 * @param {string} kind
 * @param {number} [ratio] Device pixels to one unit of the context.
 * @returns {string | CanvasPattern}
 */
export function fillOf(context, colours, kind, ratio = window.devicePixelRatio || 1) {
  const colour = colours[kind] ?? colours.delisted ?? "";
  const pattern = PATTERNS[kind];
  if (!pattern) return colour;
  const key = [pattern, colour, colours.ground, ratio].join(" ");
  const known = made.get(key) ?? context.createPattern(tile(pattern, colour, colours.ground ?? "", ratio), "repeat");
  if (!known) return colour;
  made.set(key, known);
  known.setTransform(new DOMMatrix().scale(1 / ratio));
  return known;
}

/**
 * @param {Pattern} pattern
 * @param {string} colour
 * @param {string} ground
 * @param {number} ratio
 */
function tile(pattern, colour, ground, ratio) {
  const canvas = document.createElement("canvas");
  const size = Math.max(Math.round(TILE * ratio), 2);
  canvas.width = canvas.height = size;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = ground;
  context.fillRect(0, 0, size, size);
  context.strokeStyle = context.fillStyle = colour;
  context.lineWidth = 1.3 * ratio;
  const line = (/** @type {number} */ fromY, /** @type {number} */ toY) => {
    // Beyond the tile on both sides, so that a line goes on in the next one.
    for (const shift of [-size, 0, size]) {
      context.beginPath();
      context.moveTo(-1 + shift, fromY + (fromY < toY ? -1 : 1));
      context.lineTo(size + 1 + shift, toY + (fromY < toY ? 1 : -1));
      context.stroke();
    }
  };
  if (pattern === "dots") context.fillRect(size / 3, size / 3, 2 * ratio, 2 * ratio);
  if (pattern === "rising") line(size, 0);
  if (pattern === "falling") line(0, size);
  return canvas;
}
