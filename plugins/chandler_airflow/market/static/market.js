// The market page: what is held, what is not and why, what was strange. This module holds the frame around the views.
//
// What tests and links may rely on:
// - <main data-view="coverage|day|series|incidents|models|exchanges">; aria-busy while something is loading
// - tabs: role "link" in nav "Views"; the filter of series: id "filter"
// - coverage: #map (role application, keyboard), its labels a[data-series], #map-says (the cell in words, aria-live),
//   #map canvas; cellCentre: `document.querySelector("#map").cellAt(series, day)` gives {x, y} of a cell on the page;
//   legend buttons [data-kind]; the table of sums: details#sums
// - day: [data-number=expected|stored|absent|refused|flagged|revised], #refetch, #refetch-says, #absences, #refused,
//   #revisions, #loads, #incidents-of-day
// - series: #chart [data-width=1m..1d] [data-candles], #under-cursor, #presets button[data-span], #with, #as-of, #chart-says
// - incidents: #incidents tr[data-incident], its buttons by name; the dialog: dialog#judge
// - models: [data-model], exchanges: [data-exchange]

import { getJson } from "./api.js";
import { h, put } from "./dom.js";
import { fromTask } from "./partition.js";
import { hashOf, parseRoute, tellAirflow } from "./route.js";
import { followTheme } from "./theme.js";
import { failure, load } from "./waiting.js";

/** @typedef {import("./route.js").Route} Route */
/** @typedef {import("../types/answers.d.ts").SeriesInfo} SeriesInfo */
/**
 * What a view is given.
 * @typedef {object} Context
 * @property {HTMLElement} place Where it draws.
 * @property {Route} route
 * @property {AbortSignal} signal Aborted when the view is left.
 * @property {() => Promise<SeriesInfo[]>} series
 * @property {string | null} dag The DAG whose tab this is.
 * @property {HTMLInputElement} filter
 */

/** @type {Record<string, { title: string, view: () => Promise<{ show: (context: Context) => unknown }> }>} */
const VIEWS = {
  coverage: { title: "Coverage", view: () => import("./coverage.js") },
  series: { title: "Series", view: () => import("./series.js") },
  incidents: { title: "Incidents", view: () => import("./incidents.js") },
  models: { title: "Models", view: () => import("./models.js") },
  exchanges: { title: "Exchanges", view: () => import("./exchanges.js") },
  day: { title: "Day", view: () => import("./day.js") },
};
const TABS = ["coverage", "series", "incidents", "models", "exchanges"];

const shell = new URLSearchParams(location.search);
const place = h("main", { id: "main", tabindex: -1 });
const options = h("datalist", { id: "all-series" });
const filter = h("input", {
  id: "filter",
  type: "search",
  list: "all-series",
  placeholder: "Find a series",
  "aria-label": "Find a series: exchange, symbol, timeframe",
  autocomplete: "off",
  spellcheck: "false",
});
const tabs = TABS.map((name) => h("a", { href: `#${name}` }, VIEWS[name]?.title));

const FRESH_MS = 30_000;
/** @type {Promise<SeriesInfo[]> | null} */
let known = null;
let askedAt = 0;
let leaving = new AbortController();

/** Ask what there is by now, as a view does. */
function askForSeries() {
  askedAt = Date.now();
  known = getJson("/chandler/api/series").catch((error) => {
    known = null;
    throw error;
  });
  return known;
}

/** To find a name, what there was half a minute ago will do. */
function allSeries() {
  return known && Date.now() - askedAt < FRESH_MS ? known : askForSeries();
}

async function show() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const route = parseRoute(location.hash);
  const view = VIEWS[route.view];
  if (!view) {
    location.replace("#coverage");
    return;
  }
  document.title = `${view.title}${route.series ? ` · ${route.series}` : ""} · Chandler`;
  for (const [at, tab] of tabs.entries()) {
    const isHere = TABS[at] === route.view || (route.view === "day" && TABS[at] === "coverage");
    if (isHere) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  if (place.dataset.view !== route.view) {
    if (place.contains(document.activeElement)) place.focus({ preventScroll: true });
    put(place);
  }
  place.dataset.view = route.view;
  place.setAttribute("aria-busy", "true");
  tellAirflow();
  try {
    const { show: draw } = await view.view().catch(withSession);
    if (signal.aborted) return;
    await draw({ place, route, signal, series: askForSeries, dag: shell.get("dag"), filter });
  } catch (error) {
    if (signal.aborted) return;
    console.error(error);
    put(place, failure(error, show));
  } finally {
    if (!signal.aborted) place.removeAttribute("aria-busy");
  }
}

/**
 * Say why a view's module did not come: most often nobody is logged in any more, which a browser does not tell us.
 * @param {unknown} error
 * @returns {Promise<never>}
 */
async function withSession(error) {
  await getJson("/chandler/api/me");
  throw error;
}

/** A whole series in the filter leads to it: in the view that is shown if that has one, else to its chart. */
async function choose() {
  const series = filter.value.trim();
  const all = await allSeries().catch(() => []);
  if (!all.some((one) => one.series === series)) return;
  const route = parseRoute(location.hash);
  filter.value = "";
  if (route.view === "day") location.hash = hashOf("day", [series, route.day]);
  else if (route.view === "incidents") location.hash = hashOf("incidents", [], { series });
  else location.hash = hashOf("series", [series]);
}

async function fillFilter() {
  const all = await allSeries().catch(() => []);
  put(options, ...all.map((one) => h("option", { value: one.series })));
}

function start() {
  followTheme();
  const app = /** @type {HTMLElement} */ (document.getElementById("app"));
  put(
    app,
    h("a", { class: "skip", href: "#main", onclick: skip }, "Skip to the content"),
    h(
      "header",
      {},
      h("strong", { class: "brand" }, "Chandler"),
      h("nav", { "aria-label": "Views" }, ...tabs),
      filter,
      options,
    ),
    place,
    h("footer", {}, "All times are UTC."),
  );
  filter.addEventListener("change", choose);
  filter.addEventListener("focus", fillFilter);
  window.addEventListener("hashchange", show);
  const task = shell.get("task") && !location.hash;
  if (task)
    load(
      place,
      leaving.signal,
      () => fromTask(shell),
      (hash) => location.replace(hash),
    );
  else show();
}

/** @param {Event} event */
function skip(event) {
  event.preventDefault();
  place.focus();
}

start();
