// Paints the heat map: series downwards, days across. Only what can be seen is painted, at each scroll anew.

import { fillOf } from "./patterns.js";
import { KINDS } from "./states.js";

/** @typedef {import("../types/answers.d.ts").SeriesCoverage} SeriesCoverage */
/** @typedef {{ group: string } | { group: null, of: SeriesCoverage }} Row */
/**
 * @typedef {object} View
 * @property {number} startMs The first day.
 * @property {number} days
 * @property {Row[]} rows
 * @property {number} cell The width of a day in CSS pixels; may be a fraction.
 * @property {number} left How far it is scrolled.
 * @property {number} top
 * @property {number} width Of what is seen.
 * @property {number} height
 * @property {Record<string, string>} colours
 * @property {string | null} kind The one kind that is wanted.
 * @property {{ row: number, day: number } | null} cursor
 */

export const ROW = 20;
const LEAST_SHARE = 0.3;
const NAMES = Object.fromEntries(KINDS.map((kind) => [kind.letter, kind.name]));

/**
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 */
export function paintCells(context, view) {
  const first = Math.max(Math.floor(view.left / view.cell), 0);
  const last = Math.min(Math.ceil((view.left + view.width) / view.cell), view.days);
  const firstRow = Math.max(Math.floor(view.top / ROW), 0);
  const lastRow = Math.min(Math.ceil((view.top + view.height) / ROW), view.rows.length);
  const edges = edgesOf(view, first, last);
  for (let at = firstRow; at < lastRow; at += 1) {
    const row = view.rows[at];
    if (row?.group === null) paintRow(context, view, row.of, at * ROW - view.top, first, edges);
  }
  if (gapOf(view)) {
    context.fillStyle = view.colours.ground ?? "";
    for (const edge of edges) context.fillRect(edge - 1, 0, 1, view.height);
  }
  paintCursor(context, view);
}

/**
 * Where each day begins, on whole device pixels: neighbours neither overlap nor leave a seam.
 * @param {View} view
 * @param {number} first
 * @param {number} last
 */
function edgesOf(view, first, last) {
  const ratio = window.devicePixelRatio || 1;
  const edges = new Float64Array(last - first + 1);
  for (let at = 0; at < edges.length; at += 1) {
    edges[at] = Math.round(((first + at) * view.cell - view.left) * ratio) / ratio;
  }
  return edges;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {SeriesCoverage} of
 * @param {number} y
 * @param {number} first
 * @param {Float64Array} edges
 */
function paintRow(context, view, of, y, first, edges) {
  const [top, height] = [y + 1, ROW - 2];
  paintStored(context, view, of, top, height, first, edges);
  for (let at = 0; at + 1 < edges.length; at += 1) {
    const day = first + at;
    const letter = of.states[day] ?? ".";
    const isMarked = view.cell >= 3 && (day in of.refused || day in of.revised);
    if (letter === "." || (letter === "s" && !isMarked)) continue;
    const x = edges[at] ?? 0;
    const width = Math.max((edges[at + 1] ?? x) - x, 0.5);
    context.globalAlpha = alphaOf(view, of, day);
    const whole = heightOf(of, day, height);
    if (letter !== "s") paintMissing(context, view, of, day, letter, x, top + height - whole, width, whole);
    if (isMarked) paintMarks(context, view, of, day, x, top, width - gapOf(view), height);
  }
  context.globalAlpha = 1;
}

/**
 * Paint the ground of each day that is known: neighbours alike in one stroke, for thousands of strokes are slow.
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {SeriesCoverage} of
 * @param {number} top
 * @param {number} height
 * @param {number} first
 * @param {Float64Array} edges
 */
function paintStored(context, view, of, top, height, first, edges) {
  context.fillStyle = view.colours.stored ?? "";
  let [from, alpha, whole] = [0, 0, 0];
  for (let at = 0; at < edges.length; at += 1) {
    const day = first + at;
    const isKnown = at + 1 < edges.length && (of.states[day] ?? ".") !== ".";
    const [nextAlpha, nextWhole] = isKnown ? [alphaOf(view, of, day), heightOf(of, day, height)] : [0, 0];
    if (nextAlpha === alpha && nextWhole === whole) continue;
    context.globalAlpha = alpha;
    const x = edges[from] ?? 0;
    if (alpha) context.fillRect(x, top + height - whole, (edges[at] ?? x) - x, whole);
    [from, alpha, whole] = [at, nextAlpha, nextWhole];
  }
}

/**
 * @param {View} view
 * @param {SeriesCoverage} of
 * @param {number} day
 */
const alphaOf = (view, of, day) => (view.kind === null || has(of, day, view.kind) ? 1 : 0.18);

/**
 * A day that is accounted for in part is as high as that part.
 * @param {SeriesCoverage} of
 * @param {number} day
 * @param {number} height
 */
function heightOf(of, day, height) {
  const seen = of.partial[day];
  return seen === undefined ? height : Math.max(Math.round((height * seen) / of.per_day), 2);
}

/** @param {View} view */
const gapOf = (view) => (view.cell >= 5 ? 1 : 0);

/**
 * What is missing hangs from the top, as high as its share; a few minutes are still to be seen.
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {SeriesCoverage} of
 * @param {number} day
 * @param {string} letter
 * @param {number} x
 * @param {number} top
 * @param {number} width
 * @param {number} height
 */
function paintMissing(context, view, of, day, letter, x, top, width, height) {
  const kinds = of.missing[day] ?? { [NAMES[letter] ?? ""]: of.per_day };
  const expected = of.partial[day] ?? of.per_day;
  const sum = Object.values(kinds).reduce((total, n) => total + n, 0);
  const share = sum >= expected ? 1 : Math.min(Math.max(sum / expected, LEAST_SHARE), 1 - 2 / height);
  let y = top;
  for (const { name } of KINDS) {
    const n = kinds[name];
    if (!n) continue;
    const part = (height * share * n) / sum;
    context.fillStyle = fillOf(context, view.colours, name);
    context.fillRect(x, y, width, part);
    y += part;
  }
}

/**
 * A day with refused rows has a dot at its foot on the left, one with revisions on the right.
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {SeriesCoverage} of
 * @param {number} day
 * @param {number} x
 * @param {number} top
 * @param {number} width
 * @param {number} height
 */
function paintMarks(context, view, of, day, x, top, width, height) {
  const size = Math.min(3, width / 2);
  const dot = (/** @type {string | undefined} */ colour, /** @type {number} */ left) => {
    // On the ground's own colour, since a dot may be of a colour much like that of the day.
    context.fillStyle = view.colours.ground ?? "";
    context.fillRect(left - 1, top + height - size - 2, size + 2, size + 2);
    context.fillStyle = colour ?? "";
    context.fillRect(left, top + height - size - 1, size, size);
  };
  if (of.refused[day]) dot(view.colours.refused, x);
  if (of.revised[day]) dot(view.colours.revised, x + width - size);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 */
function paintCursor(context, view) {
  if (!view.cursor) return;
  const x = view.cursor.day * view.cell - view.left;
  context.strokeStyle = view.colours.ink ?? "";
  context.lineWidth = 2;
  context.strokeRect(x - 1, view.cursor.row * ROW - view.top, Math.max(view.cell, 4) + 1, ROW);
}

/**
 * Whether a day has something of a kind; `refused` and `revised` are counted apart from what is absent.
 * @param {SeriesCoverage} of
 * @param {number} day
 * @param {string} kind
 */
export function has(of, day, kind) {
  if (kind === "stored") return of.states[day] === "s";
  if (kind === "revised") return day in of.revised;
  if (kind === "refused" && day in of.refused) return true;
  const missing = of.missing[day];
  return missing ? kind in missing : NAMES[of.states[day] ?? ""] === kind;
}
