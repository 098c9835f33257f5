// The view of incidents: a list with filters, and what people say of them.

import { getJson } from "./api.js";
import { h, put } from "./dom.js";
import { incidentTable } from "./incident-table.js";
import { judge } from "./judge.js";
import { count, moment, plural, words } from "./numbers.js";
import { hashOf, wholeNumber, wrongIn } from "./route.js";
import { load, note, unreadable } from "./waiting.js";

/** @typedef {import("./market.js").Context} Context */
/** @typedef {import("../types/answers.d.ts").Incident} Incident */
/** @typedef {import("../types/answers.d.ts").Incidents} Incidents */

const LIMIT = 50;
const CHOICES = /** @type {const} */ (["severity", "kind", "scope", "state"]);
const YES_NO = [
  { name: "history", any: "live and history", yes: "history", no: "live" },
  { name: "acknowledged", any: "acknowledged or not", yes: "acknowledged", no: "not acknowledged" },
  { name: "false", any: "false alarms too", yes: "only false alarms", no: "no false alarms" },
];
const FILTERS = ["series", ...CHOICES, ...YES_NO.map(({ name }) => name)];

/** @param {Context} context */
export function show(context) {
  const { place, route, signal } = context;
  const wrong = wrongIn(route.query, { offset: wholeNumber(0, 1_000_000) });
  if (wrong.length) {
    put(place, h("h1", {}, "Incidents"), unreadable(wrong, "#incidents"));
    return undefined;
  }
  const query = { ...Object.fromEntries(route.query), limit: LIMIT };
  return load(
    place,
    signal,
    () => getJson("/chandler/api/incidents", query, signal),
    (/** @type {Incidents} */ answer) => draw(context, answer),
  );
}

/**
 * @param {Context} context
 * @param {Incidents} answer
 */
function draw(context, answer) {
  const { place, route } = context;
  const offset = Number(route.query.get("offset") ?? 0);
  const isFiltered = FILTERS.some((name) => route.query.has(name));
  const body = answer.incidents.length
    ? h("div", { id: "incidents" }, listOf(context, answer.incidents), paging(route.query, offset, answer))
    : nothing(isFiltered, answer.next);
  const total = plural(answer.total, "incident");
  const sum = h("p", { class: "quiet" }, total);
  put(place, h("div", { class: "heading" }, h("h1", {}, "Incidents"), sum), filters(route.query, answer.choices), body);
}

/**
 * @param {boolean} isFiltered
 * @param {string | null} next Why no model judges; null if one does.
 */
function nothing(isFiltered, next) {
  if (isFiltered) return note("None is like that", h("a", { href: "#incidents" }, "Show all"));
  return note("There is no incident", next ?? "A model judges what is loaded, and nothing was strange.");
}

/**
 * @param {URLSearchParams} query
 * @param {Incidents["choices"]} choices
 */
function filters(query, choices) {
  const go = (/** @type {string} */ name, /** @type {string} */ value) => {
    const next = new URLSearchParams(query);
    next.delete("offset");
    if (value) next.set(name, value);
    else next.delete(name);
    location.hash = hashOf("incidents", [], next);
  };
  const select = (/** @type {string} */ name, /** @type {string} */ any, /** @type {[string, string][]} */ options) => {
    const chosen = query.get(name) ?? "";
    const all = [["", any], ...options].map(([value = "", text]) =>
      h("option", { value, selected: value === chosen }, text),
    );
    const onchange = (/** @type {Event} */ event) => go(name, /** @type {HTMLSelectElement} */ (event.target).value);
    return h("select", { name, "aria-label": any, onchange }, ...all);
  };
  const series = query.get("series");
  const off = () => go("series", "");
  const chip = series && h("button", { type: "button", title: "Show all series", onclick: off }, `${series} ✕`);
  return h(
    "div",
    { class: "bar", role: "group", "aria-label": "Filters" },
    ...CHOICES.map((name) =>
      select(
        name,
        `any ${name}`,
        (choices[name] ?? []).map((value) => [value, words(value)]),
      ),
    ),
    ...YES_NO.map(({ name, any, yes, no }) =>
      select(name, any, [
        ["true", yes],
        ["false", no],
      ]),
    ),
    chip,
  );
}

/**
 * @param {Context} context
 * @param {Incident[]} all
 */
function listOf(context, all) {
  return incidentTable(all, (one) => judgement(one, () => show(context), context.signal));
}

/**
 * @param {Incident} one
 * @param {() => void} again
 * @param {AbortSignal} signal
 */
function judgement(one, again, signal) {
  const said = [];
  if (one.is_false) said.push(h("span", { class: "verdict" }, "false alarm"));
  if (one.acknowledged_at)
    said.push(h("span", { class: "verdict", title: moment(one.acknowledged_at) }, "acknowledged"));
  if (one.note) said.push(h("q", {}, one.note));
  if (!one.may_act) return h("span", {}, ...said);
  const act = (/** @type {string} */ name, /** @type {import("./judge.js").Verdict} */ verdict) =>
    h("button", { type: "button", class: "small", onclick: () => judge(one, verdict, again, signal) }, name);
  return h(
    "span",
    { class: "acts" },
    ...said,
    !one.acknowledged_at && act("Acknowledge", "acknowledge"),
    one.is_false ? act("No false alarm", "true") : act("False alarm", "false"),
  );
}

/**
 * @param {URLSearchParams} query
 * @param {number} offset
 * @param {Incidents} answer
 */
function paging(query, offset, { total, incidents }) {
  const to = (/** @type {number} */ start, /** @type {string} */ text) => {
    const next = new URLSearchParams(query);
    next.set("offset", String(start));
    return h("a", { href: hashOf("incidents", [], next) }, text);
  };
  const last = offset + incidents.length;
  return h(
    "p",
    { class: "bar" },
    offset > 0 && to(Math.max(offset - LIMIT, 0), "← newer"),
    h("span", { class: "quiet" }, `${count(offset + 1)} to ${count(last)} of ${count(total)}`),
    last < total && to(last, "older →"),
  );
}
