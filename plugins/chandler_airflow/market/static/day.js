// The view of one day of one series: how it adds up, what is absent and why, what was refused, changed and loaded.

import { findTask, LOAD, outward, taskPage } from "./airflow.js";
import { address, getJson, me } from "./api.js";
import { smallChart } from "./chart.js";
import { h, put, section, table } from "./dom.js";
import { incidentTable } from "./incident-table.js";
import { clock, count, DAY_MS, dayText, isoDay, moment, words } from "./numbers.js";
import { refetchButton } from "./refetch-button.js";
import { hashOf } from "./route.js";
import { KINDS, labelOf } from "./states.js";
import { load, note } from "./waiting.js";

/** @typedef {import("./market.js").Context} Context */
/** @typedef {import("../types/answers.d.ts").Day} Day */
/** @typedef {import("../types/answers.d.ts").Bars} Bars */

const MOST_TASKS = 12;

/** @param {Context} context */
export function show(context) {
  const { place, route, signal } = context;
  const { series, day } = route;
  if (!/^\d{4}-\d\d-\d\d$/.test(day) || Number.isNaN(Date.parse(day))) {
    put(place, note("That is no day", h("a", { href: "#coverage" }, "Choose one from the coverage")));
    return undefined;
  }
  return load(
    place,
    signal,
    () => getJson("/chandler/api/day", { series, day }, signal),
    (/** @type {Day} */ answer) => draw(context, answer),
  );
}

/**
 * @param {Context} context
 * @param {Day} facts
 */
function draw(context, facts) {
  const { place, signal } = context;
  const { series, day } = facts;
  const chart = h("div", { class: "small-chart", role: "img", "aria-label": `Candles of ${series} on ${day}` });
  const again = () => show(context);
  put(
    place,
    h(
      "div",
      { class: "heading" },
      h("h1", {}, series),
      h("p", {}, dayText(Date.parse(day))),
      h("nav", { class: "steps", "aria-label": "Days" }, neighbour(series, day, -1), neighbour(series, day, 1)),
      h("a", { href: chartAround(series, day) }, "Chart"),
      h("a", { href: qualityPage(series, day) }, "Quality report"),
    ),
    numbers(facts),
    refetchButton(facts, me.may_act, again, signal),
    chart,
    absences(facts),
    refused(facts),
    revisions(facts),
    incidents(facts),
    loads(facts, signal),
  );
  drawChart(chart, facts, signal);
}

/**
 * @param {string} series
 * @param {string} day
 * @param {number} step
 */
function neighbour(series, day, step) {
  const other = isoDay(Date.parse(day) + step * DAY_MS);
  return h(
    "a",
    { href: hashOf("day", [series, other]), rel: step < 0 ? "prev" : "next" },
    step < 0 ? `← ${other}` : `${other} →`,
  );
}

/**
 * @param {string} series
 * @param {string} day
 */
function chartAround(series, day) {
  const at = Date.parse(day);
  return hashOf("series", [series], { start: isoDay(at - DAY_MS), end: isoDay(at + 2 * DAY_MS) });
}

/**
 * @param {string} series
 * @param {string} day
 */
function qualityPage(series, day) {
  return address("/chandler/quality", { series, start: day, end: isoDay(Date.parse(day) + DAY_MS) });
}

/** @param {Day} facts */
function numbers({ quality }) {
  if (!quality) return note("Nothing is known of this day", "It was never loaded.");
  const sum = (/** @type {Record<string, number> | number} */ of) =>
    typeof of === "number" ? of : Object.values(of).reduce((total, n) => total + n, 0);
  const one = (
    /** @type {string} */ name,
    /** @type {number} */ n,
    /** @type {Record<string, number> | number} */ by = {},
  ) => {
    const parts = typeof by === "number" ? [] : Object.entries(by).map(([kind, m]) => `${count(m)} ${words(kind)}`);
    return h(
      "div",
      { "data-number": name, "data-value": n, class: n && name !== "expected" && name !== "stored" ? "some" : null },
      h("dt", {}, name),
      h("dd", {}, count(n)),
      parts.length > 0 && h("dd", { class: "quiet" }, parts.join(", ")),
    );
  };
  const { expected, stored, absent, flagged, revisions } = quality;
  return h(
    "dl",
    { class: "numbers" },
    one("expected", expected),
    one("stored", stored),
    one("absent", sum(absent), absent),
    one("refused", sum(quality.refused), quality.refused),
    one("flagged", sum(flagged), flagged),
    one("revised", revisions),
  );
}

/**
 * @param {HTMLElement} place
 * @param {Day} facts
 * @param {AbortSignal} signal
 */
function drawChart(place, { series, day, quality, absences: holes }, signal) {
  if (!quality?.stored) {
    place.hidden = true;
    return;
  }
  const query = { series, start: `${day}T00:00Z`, end: `${isoDay(Date.parse(day) + DAY_MS)}T00:00Z`, most: 300 };
  const drawBars = (/** @type {Bars} */ bars) => smallChart(place, bars, holes, signal);
  load(place, signal, () => getJson("/chandler/api/bars", query, signal), drawBars);
}

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
function absences({ absences: all, day, more }) {
  const rows = all.map((one) => [
    h("span", { class: "kind" }, h("i", { class: `swatch of-${one.kind}` }), labelOf(one.kind)),
    `${clock(one.start, day)} – ${clock(one.end, day)}`,
    count(one.slots),
    evidence(one.evidence) || (KINDS.find((kind) => kind.name === one.kind)?.help ?? ""),
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
function refused({ refused: all, day, more }) {
  const rows = all.map((one) => [
    one.open_time ? clock(one.open_time, day) : "–",
    words(one.rule),
    evidence(one.evidence),
    h("code", {}, typeof one.row === "string" ? one.row : JSON.stringify(one.row)),
    words(one.state),
  ]);
  const columns = ["Time", "Rule", "Evidence", "Row as received", "State"].map((name, at) => ({
    name,
    text: at === 2 || at === 3,
  }));
  return list("refused", "Refused", "No row was refused.", columns, rows, more?.refused);
}

/** @param {unknown} of */
function evidence(of) {
  if (of === null || of === undefined) return "";
  if (typeof of !== "object") return String(of);
  const text = (/** @type {unknown} */ value) => (typeof value === "object" ? JSON.stringify(value) : String(value));
  return Object.entries(of)
    .map(([name, value]) => `${words(name)} ${text(value)}`)
    .join(", ");
}

/** @param {Day} facts */
function revisions({ revisions: all, day, more }) {
  const fields = /** @type {const} */ (["open", "high", "low", "close", "volume"]);
  const rows = all.map(({ open_time, replaced_at, before, after, run }) => [
    clock(open_time, day),
    ...fields.map((name) =>
      before[name] === after[name]
        ? h("span", { class: "quiet" }, String(after[name]))
        : h("span", {}, h("del", {}, String(before[name])), " ", h("ins", {}, String(after[name]))),
    ),
    moment(replaced_at),
    run ?? "–",
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
function incidents({ incidents: all }) {
  const made = section("Incidents", all.length ? incidentTable(all) : h("p", { class: "quiet" }, "None."));
  made.id = "incidents-of-day";
  return made;
}

/**
 * @param {Day} facts
 * @param {AbortSignal} signal
 */
function loads({ loads: all, series, day, more }, signal) {
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
