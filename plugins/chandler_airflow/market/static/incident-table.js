// Incidents as rows, wherever they are listed.

import { address } from "./api.js";
import { h, table } from "./dom.js";
import { fixed, moment, words } from "./numbers.js";
import { hashOf } from "./route.js";

/** @typedef {import("../types/answers.d.ts").Incident} Incident */

const HOUR_MS = 3_600_000;

/**
 * @param {Incident[]} all
 * @param {(one: Incident) => Node} [acts] What can be done about one.
 */
export function incidentTable(all, acts) {
  const columns = [
    { name: "Severity" },
    { name: "Began" },
    { name: "Series" },
    { name: "Kind" },
    { name: "Move", number: true },
    { name: "Once in", number: true },
    { name: "State" },
    { name: "Story" },
    ...(acts ? [{ name: "Judgement", text: true }] : []),
  ];
  const made = table(
    "Incidents",
    columns,
    all.map((one) => [...cells(one), ...(acts ? [acts(one)] : [])]),
  );
  made.classList.add("cards");
  for (const [at, row] of made.querySelectorAll("tbody tr").entries()) {
    row.setAttribute("data-incident", String(all[at]?.id));
  }
  return made;
}

/** @param {Incident} one */
function cells(one) {
  const state = [words(one.state), one.is_history ? "history" : ""].filter(Boolean).join(", ");
  return [
    h("span", { class: `severity is-${one.severity}` }, one.severity),
    h("a", { href: chartOf(one), title: "Chart around it" }, moment(one.start)),
    one.series,
    `${words(one.kind)} · ${one.scope}`,
    one.move_pct === null ? "–" : `${one.move_pct > 0 ? "+" : ""}${fixed(one.move_pct, 1)} %`,
    one.once_in || "–",
    state,
    h("a", { href: address("/chandler/incident", { id: one.id }), title: one.reason }, `No. ${one.id}`),
  ];
}

/**
 * The chart around an incident: as much again on either side, and two hours at least.
 * @param {{ series: string, start: string, end: string }} one
 */
export function chartOf({ series, start, end }) {
  const [from, to] = [Date.parse(start), Date.parse(end)];
  const room = Math.max(to - from, 2 * HOUR_MS);
  const iso = (/** @type {number} */ time) => `${new Date(time).toISOString().slice(0, 16)}Z`;
  return hashOf("series", [series], { start: iso(from - room), end: iso(to + room) });
}
