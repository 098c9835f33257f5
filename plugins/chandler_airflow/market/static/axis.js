// The days along the top of the heat map.

import { writeWhole } from "./dom.js";
import { DAY_MS, monthName } from "./numbers.js";

/** @typedef {import("./heatmap.js").View} View */

/**
 * Write months and years along the top, and days where there is room.
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 */
export function paintAxis(context, view) {
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  const last = Math.min(Math.ceil((view.left + view.width) / view.cell), view.days);
  let first = Math.max(Math.floor(view.left / view.cell), 0);
  // The month that is cut off at the left keeps its name.
  let month = new Date(view.startMs + first * DAY_MS).getUTCDate() > 1 ? first : -1;
  for (; first < last; first += 1) {
    const date = new Date(view.startMs + first * DAY_MS);
    const x = first * view.cell - view.left;
    if (date.getUTCDate() === 1 || first === month) {
      const isCut = first === month;
      month = -1;
      if (!isCut || (31 - date.getUTCDate()) * view.cell > 70) paintMonth(context, view, date, Math.max(x, 0), isCut);
    }
    if (view.cell >= 18 || (view.cell >= 7 && date.getUTCDay() === 1)) {
      context.fillStyle = view.colours.quiet ?? "";
      writeWhole(context, String(date.getUTCDate()), x + 2, 27, view.width);
    }
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {Date} date
 * @param {number} x
 * @param {boolean} isCut
 */
function paintMonth(context, view, date, x, isCut) {
  const isJanuary = date.getUTCMonth() === 0;
  const room = view.cell * 30;
  if (!isCut) {
    context.fillStyle = view.colours.line ?? "";
    context.fillRect(x, 2, 1, 34);
  }
  if (room < 26 && !isJanuary && date.getUTCMonth() % 3) return;
  const year = date.getUTCFullYear();
  const text =
    isJanuary || isCut || room > 60 ? `${monthName(date)} ${room > 44 ? year : `’${year % 100}`}` : monthName(date);
  context.fillStyle = (isJanuary ? view.colours.ink : view.colours.quiet) ?? "";
  writeWhole(context, text, x + 4, 11, view.width);
}
