// The lists of a day: what is absent, what was refused, what changed, what was strange, what was loaded.

import { findTask, LOAD, outward, taskPage } from "./airflow.js";
import { h, section, table } from "./dom.js";
import { incidentTable } from "./incident-table.js";
import { clock, count, moment, words } from "./numbers.js";
import { KINDS, labelOf, swatchOf } from "./states.js";

/** @typedef {import("../types/answers.d.ts").Day} Day */

const MOST_TASKS = 12;

/**
 * @param {string} id
 * @param {string} title
 * @param {string} none
 * @param {{ name: string, number?: boolean, text?: boolean }[]} columns
 * @param {(Node | string | number)[][]} rows
 * @param {number} [more]
 */
function list(id, title, none, columns, rows, more = 0) {
  const left = more ? h("p", { class: "quiet" }, `and ${count(more)} more`) : null;
  const content = rows.length ? table(title, columns, rows) : h("p", { class: "quiet" }, none);
  const made = section(rows.length > 1 ? `${title} (${count(rows.length + more)})` : title, content, left);
  made.id = id;
  return made;
}

/** @param {Day} facts */
export function absences({ absences: all, day, more }) {
  const rows = all.map((one) => [
    h("span", { class: "kind" }, h("i", { class: swatchOf(one.kind) }), labelOf(one.kind)),
    `${clock(one.start, day)} – ${clock(one.end, day)}`,
    count(one.slots),
    one.evidence || (KINDS.find((kind) => kind.name === one.kind)?.help ?? ""),
    one.probes ? `${one.probes}, last ${moment(one.asked_at)}` : "never",
    one.next_probe ? moment(one.next_probe) : "no more",
  ]);
  const columns = [
    { name: "Kind" },
    { name: "From, to" },
    { name: "Candles", number: true },
    { name: "Evidence", text: true },
    { name: "Asked again" },
    { name: "Next" },
  ];
  return list("absences", "Absent", "No candle is absent.", columns, rows, more?.absences);
}

/** @param {Day} facts */
export function refused({ refused: all, day, more }) {
  const rows = all.map((one) => [
    // A local time that the clock shows twice may be either of two.
    [one.open_time, one.later_open_time].flatMap((at) => (at ? clock(at, day) : [])).join(" or ") || "–",
    words(one.rule),
    one.evidence,
    h("code", {}, one.row),
    words(one.state),
  ]);
  const columns = ["Time", "Rule", "Evidence", "Row as received", "State"].map((name, at) => ({
    name,
    text: at === 2 || at === 3,
  }));
  return list("refused", "Refused", "No row was refused.", columns, rows, more?.refused);
}

/** @param {Day} facts */
export function revisions({ revisions: all, day, more }) {
  const fields = /** @type {const} */ (["open", "high", "low", "close", "volume"]);
  const rows = all.map(({ open_time, replaced_at, before, after, run }) => [
    clock(open_time, day),
    ...fields.map((name) =>
      before[name] === after?.[name]
        ? h("span", { class: "quiet" }, String(before[name]))
        : h(
            "span",
            {},
            h("del", {}, String(before[name])),
            " ",
            h("ins", {}, String(after?.[name] ?? "in the archive")),
          ),
    ),
    moment(replaced_at),
    run,
  ]);
  const columns = [
    { name: "Time" },
    ...fields.map((name) => ({ name, number: true })),
    { name: "Changed" },
    { name: "By run" },
  ];
  return list("revisions", "Revised", "No candle has changed.", columns, rows, more?.revisions);
}

/** @param {Day} facts */
export function incidents({ incidents: all }) {
  const made = section("Incidents", all.length ? incidentTable(all) : h("p", { class: "quiet" }, "None."));
  made.id = "incidents-of-day";
  return made;
}

/**
 * @param {Day} facts
 * @param {AbortSignal} signal
 */
export function loads({ loads: all, series, day, more }, signal) {
  const places = all.map((one) => h("span", {}, one.run));
  const rows = all.map((one, at) => [
    moment(one.loaded_at),
    /** @type {Node} */ (places[at]),
    `${clock(one.start, day)} – ${clock(one.end, day)}`,
    ...[one.rows, one.new, one.revised, one.absent, one.quarantined].map(count),
  ]);
  for (const [at, one] of all.slice(0, MOST_TASKS).entries()) {
    const link = async () => {
      const task = await findTask("~", one.run, LOAD, series, signal);
      if (task) places[at]?.replaceChildren(outward(taskPage(task), one.run));
    };
    // What was loaded from a terminal has no task. That a link is missing is no failure of the page.
    if (!one.run.startsWith("terminal")) link().catch(() => {});
  }
  const numbers_ = ["Rows", "New", "Revised", "Absent", "Refused"].map((name) => ({ name, number: true }));
  const columns = [{ name: "Loaded" }, { name: "By run" }, { name: "From, to" }, ...numbers_];
  return list("loads", "Loads", "Never loaded.", columns, rows, more?.loads);
}
