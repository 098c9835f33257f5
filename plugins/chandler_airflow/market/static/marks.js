// What is marked on a chart: incidents to be opened, anomalies, revisions.

import { readColours } from "./states.js";

/** @typedef {import("../types/answers.d.ts").Marks} Marks */
/** @typedef {import("./grid.js").Grid} Grid */
/** @typedef {import("./lightweight-charts.mjs").SeriesMarker<import("./lightweight-charts.mjs").UTCTimestamp>} Marker */

const INCIDENT = "incident ";
const WORTH_A_WORD = new Set(["high", "critical"]);

/** @type {Marks} */
export const NO_MARKS = { anomalies: [], incidents: [], absences: [], revisions: [] };

/**
 * @param {Marks} marks
 * @param {Grid} grid
 * @returns {Marker[]} In the order of time, as the library wants them; several of a kind in one candle are one.
 */
export function markersOf(marks, grid) {
  const { outage = "", down = "", quiet = "", accent = "" } = readColours();
  /** @type {Map<string, Marker>} */
  const found = new Map();
  const add = (/** @type {string} */ kind, /** @type {number} */ time, /** @type {Omit<Marker, "time">} */ mark) => {
    const at = /** @type {Marker["time"]} */ (held(grid, time));
    if (at !== null && !found.has(`${kind} ${at}`))
      found.set(`${kind} ${at}`, /** @type {Marker} */ ({ ...mark, time: at }));
  };
  for (const one of marks.incidents) {
    const [shape, position] = [/** @type {const} */ ("arrowDown"), /** @type {const} */ ("aboveBar")];
    const color = WORTH_A_WORD.has(one.severity) ? down : outage;
    const text = WORTH_A_WORD.has(one.severity) ? one.kind.replaceAll("_", " ") : "";
    add("incident", Date.parse(one.peak) / 1000, { shape, position, color, text, id: INCIDENT + one.id, size: 1.4 });
  }
  for (const one of marks.anomalies) {
    add("anomaly", one.open_time_s, { shape: "circle", position: "belowBar", color: outage, size: 0.5 });
  }
  for (const one of marks.revisions) {
    add("revision", one.open_time_s, {
      shape: "square",
      position: "belowBar",
      color: one.count ? accent : quiet,
      size: 0.5,
    });
  }
  return [...found.values()].sort((one, other) => Number(one.time) - Number(other.time));
}

/**
 * Return the number of the incident that a marker stands for.
 * @param {unknown} id
 */
export function incidentOf(id) {
  return typeof id === "string" && id.startsWith(INCIDENT) ? Number(id.slice(INCIDENT.length)) : null;
}

/**
 * Return the time of the candle that holds a moment; null outside, or if that candle is absent.
 * @param {Grid} grid
 * @param {number} time
 */
function held({ start, step, at }, time) {
  const open = start + Math.floor((time - start) / step) * step;
  return at.has(open) ? open : null;
}
