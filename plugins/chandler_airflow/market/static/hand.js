// Mouse, touch and keyboard on the heat map: a cell is told in words, and opens its day.

import { h } from "./dom.js";
import { ROW } from "./heatmap.js";
import { count, DAY_MS, dayText, isoDay, plural } from "./numbers.js";
import { hashOf } from "./route.js";
import { KINDS, labelOf } from "./states.js";

/** @typedef {import("../types/answers.d.ts").SeriesCoverage} SeriesCoverage */
/** @typedef {import("./heatmap.js").View} View */
/**
 * @typedef {object} Hand
 * @property {HTMLElement} map What has the focus.
 * @property {HTMLElement} frame What scrolls.
 * @property {HTMLElement} cells
 * @property {View} view
 * @property {HTMLElement} says Where the cell under the cursor is told.
 * @property {() => void} repaint
 * @property {(factor: number, at?: number) => void} zoom Show so many times as many days; `at` stays, from 0 to 1.
 */

const STEPS = /** @type {Record<string, [number, number]>} */ ({
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  PageUp: [0, -30],
  PageDown: [0, 30],
  Home: [0, -1e6],
  End: [0, 1e6],
});

/** @param {Hand} hand */
export function followHand(hand) {
  const { map, frame, cells, view, repaint, zoom } = hand;
  const tip = h("div", { class: "tip", role: "presentation", hidden: true });
  map.append(tip);
  const point = (/** @type {PointerEvent | MouseEvent} */ event) => {
    const box = cells.getBoundingClientRect();
    const cell = {
      row: Math.floor((event.clientY - box.top) / ROW),
      day: Math.floor((event.clientX - box.left) / view.cell),
    };
    return seriesOf(view, cell.row) && cell.day >= 0 && cell.day < view.days ? cell : null;
  };
  cells.addEventListener("pointermove", (event) => {
    const cell = point(event);
    tip.hidden = !cell || event.pointerType === "touch";
    if (cell) placeTip(tip, map, event, describe(view, cell));
  });
  cells.addEventListener("pointerleave", () => (tip.hidden = true));
  cells.addEventListener("click", (event) => open(view, point(event)));
  frame.addEventListener("wheel", (event) => zoomByWheel(event, frame, view, zoom), { passive: false });
  map.addEventListener("keydown", (event) => press(event, hand));
  map.addEventListener("focus", () => {
    // A mouse points by itself: what is scrolled into sight now would move away under it.
    if (!map.matches(":focus-visible")) return;
    view.cursor ??= lastDay(view);
    tell(hand);
  });
  map.addEventListener("blur", () => {
    view.cursor = null;
    repaint();
  });
  // Where a test or a guide finds a cell on the page.
  Object.assign(map, {
    cellAt: (/** @type {string} */ series, /** @type {string} */ day) => cellAt(hand, series, day),
  });
}

/**
 * @param {WheelEvent} event
 * @param {HTMLElement} frame
 * @param {View} view
 * @param {(factor: number, at?: number) => void} zoom
 */
function zoomByWheel(event, frame, view, zoom) {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  const x = event.clientX - frame.getBoundingClientRect().right + view.width;
  zoom(event.deltaY > 0 ? 1.25 : 0.8, Math.min(Math.max(x / view.width, 0), 1));
}

/**
 * @param {KeyboardEvent} event
 * @param {Hand} hand
 */
function press(event, hand) {
  const { map, view, zoom } = hand;
  if (event.target !== map || event.altKey || event.ctrlKey || event.metaKey) return;
  view.cursor ??= lastDay(view);
  const step = STEPS[event.key];
  if (step) move(view, step[0], step[1]);
  else if (event.key === "+" || event.key === "=") zoom(1 / 1.5, 0.5);
  else if (event.key === "-") zoom(1.5, 0.5);
  else if (event.key === "Enter") open(view, view.cursor);
  else return;
  event.preventDefault();
  tell(hand);
}

/** @param {View} view Where the keyboard begins: the last day of the first series. */
const lastDay = ({ rows, days }) => ({ row: rows.findIndex((row) => row.group === null), day: days - 1 });

/**
 * @param {View} view
 * @param {number} down
 * @param {number} right
 */
function move(view, down, right) {
  if (!view.cursor) return;
  const day = Math.min(Math.max(view.cursor.day + right, 0), view.days - 1);
  let row = view.cursor.row + down;
  if (down && view.rows[row]?.group) row += down;
  view.cursor = { row: seriesOf(view, row) ? row : view.cursor.row, day };
}

/** @param {Hand} hand Bring the cursor's cell into sight, and say what it is. */
function tell({ frame, view, says, repaint }) {
  if (!view.cursor) return;
  const { row, day } = view.cursor;
  const [x, y] = [day * view.cell, row * ROW];
  if (x < frame.scrollLeft) frame.scrollLeft = x - view.width / 3;
  else if (x + view.cell > frame.scrollLeft + view.width) frame.scrollLeft = x - (view.width * 2) / 3;
  if (y < frame.scrollTop) frame.scrollTop = y - ROW;
  else if (y + ROW > frame.scrollTop + view.height) frame.scrollTop = y + 2 * ROW - view.height;
  says.textContent = describe(view, view.cursor).join(", ");
  repaint();
}

/**
 * @param {View} view
 * @param {{ row: number, day: number } | null} cell
 */
function open(view, cell) {
  const of = cell && seriesOf(view, cell.row);
  if (of) location.hash = hashOf("day", [of.series, isoDay(view.startMs + cell.day * DAY_MS)]);
}

/**
 * @param {View} view
 * @param {number} row
 * @returns {SeriesCoverage | null}
 */
function seriesOf(view, row) {
  const found = view.rows[row];
  return found && found.group === null ? found.of : null;
}

/**
 * Say in a few lines what a cell holds.
 * @param {View} view
 * @param {{ row: number, day: number }} cell
 */
export function describe(view, cell) {
  const of = seriesOf(view, cell.row);
  if (!of) return [];
  const { day } = cell;
  const lines = [of.series, dayText(view.startMs + day * DAY_MS)];
  const letter = of.states[day] ?? ".";
  if (letter === ".") return [...lines, "nothing is known of it"];
  const expected = of.partial[day] ?? of.per_day;
  const whole = KINDS.find((kind) => kind.letter === letter)?.name;
  const missing = of.missing[day] ?? (whole ? { [whole]: expected } : {});
  const absent = Object.values(missing).reduce((sum, n) => sum + n, 0);
  lines.push(`${count(expected - absent)} of ${count(expected)} stored${day in of.partial ? " so far" : ""}`);
  for (const [kind, n] of Object.entries(missing)) lines.push(`${count(n)} ${labelOf(kind)}`);
  if (of.refused[day]) lines.push(`${plural(of.refused[day], "row")} refused`);
  if (of.revised[day]) lines.push(`${count(of.revised[day])} revised`);
  if (of.flagged[day]) lines.push(`${count(of.flagged[day])} flagged`);
  return lines;
}

/**
 * @param {HTMLElement} tip
 * @param {HTMLElement} map
 * @param {PointerEvent} event
 * @param {string[]} lines
 */
function placeTip(tip, map, event, lines) {
  tip.replaceChildren(...lines.map((line, at) => h(at ? "div" : "strong", {}, line)));
  const box = map.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  tip.style.left = `${x + 16 + tip.offsetWidth > box.width ? x - tip.offsetWidth - 12 : x + 16}px`;
  tip.style.top = `${y + 16 + tip.offsetHeight > box.height ? y - tip.offsetHeight - 12 : y + 16}px`;
}

/**
 * @param {Hand} hand
 * @param {string} series
 * @param {string} day
 */
function cellAt({ cells, view, frame }, series, day) {
  const row = view.rows.findIndex((one) => one.group === null && one.of.series === series);
  const at = Math.round((Date.parse(day) - view.startMs) / DAY_MS);
  if (row < 0 || at < 0 || at >= view.days) return null;
  const x = (at + 0.5) * view.cell;
  if (x < frame.scrollLeft || x > frame.scrollLeft + view.width) frame.scrollLeft = x - view.width / 2;
  const y = (row + 0.5) * ROW;
  if (y < frame.scrollTop || y > frame.scrollTop + view.height) frame.scrollTop = y - view.height / 2;
  const box = cells.getBoundingClientRect();
  return { x: box.left + x, y: box.top + y };
}
