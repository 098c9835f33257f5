// The view of models: which judges now, how they did night by night, and why one was taken or not.

import { address, getJson } from "./api.js";
import { bareChart } from "./chart.js";
import { h, put, section, table } from "./dom.js";
import { LineSeries } from "./lightweight-charts.mjs";
import { dayText, fixed, isoDay, moment, plural, words } from "./numbers.js";
import { readColours } from "./states.js";
import { load, note } from "./waiting.js";

/** @typedef {import("./market.js").Context} Context */
/** @typedef {import("../types/answers.d.ts").Model} Model */
/** @typedef {import("../types/answers.d.ts").Models} Models */
/** @typedef {import("./lightweight-charts.mjs").UTCTimestamp} UTCTimestamp */

const METRICS = [
  ["vus_pr", "VUS-PR"],
  ["precision", "Precision"],
  ["recall", "Recall"],
  ["f1", "F1"],
];

/** @param {Context} context */
export function show({ place, signal }) {
  return load(
    place,
    signal,
    () => getJson("/chandler/api/models", {}, signal),
    (/** @type {Models} */ answer) => draw(place, answer, signal),
  );
}

/**
 * @param {HTMLElement} place
 * @param {Models} answer
 * @param {AbortSignal} signal
 */
function draw(place, { models, more, champions, next }, signal) {
  if (!models.length) {
    put(place, h("h1", {}, "Models"), note("There is no model yet", next));
    return;
  }
  const groups = Map.groupBy(models, (one) => `${one.timeframe} · ${words(one.scope)}`);
  put(place, h("h1", {}, "Models"), ...(champions.length ? [] : [note("None judges now", next)]));
  for (const [name, members] of groups) {
    const chart = h("div", { class: "metric-chart" });
    const champion = members.find((one) => champions.includes(one.id));
    place.append(section(name, champion ? summary(champion) : null, chart, listOf(members, champions)));
    drawMetric(chart, members, signal);
  }
  if (more) {
    const older = `${plural(more, "older model")} not shown; `;
    place.append(h("p", { class: "quiet" }, older, h("code", {}, "chandler models list"), " has them."));
  }
}

/** @param {Model} champion */
function summary({ name, scorer, state_since, metrics }) {
  const known = METRICS.filter(([metric = ""]) => typeof metrics[metric] === "number");
  const numbers = known.map(([metric = "", label]) => `${label} ${fixed(metrics[metric])}`).join(", ");
  return h(
    "p",
    {},
    h("strong", {}, name),
    ` (${words(scorer)}) judges since ${moment(state_since)}${numbers && ": "}${numbers}`,
  );
}

/**
 * VUS-PR by night: of the best model that was compared in it.
 * @param {HTMLElement} place
 * @param {Model[]} models
 * @param {AbortSignal} signal
 */
function drawMetric(place, models, signal) {
  const known = models.filter((one) => typeof one.metrics.vus_pr === "number");
  /** @type {Map<number, number>} */
  const best = new Map();
  for (const one of known) {
    const night = Math.floor(Date.parse(one.created_at) / 86_400_000) * 86_400;
    best.set(night, Math.max(best.get(night) ?? 0, Number(one.metrics.vus_pr)));
  }
  const points = [...best].sort(([one], [other]) => one - other);
  place.hidden = points.length < 2;
  if (place.hidden) return;
  place.setAttribute("role", "img");
  place.setAttribute(
    "aria-label",
    `VUS-PR by night: ${points.map(([night, value]) => `${isoDay(night * 1000)} ${fixed(value)}`).join(", ")}`,
  );
  const chart = bareChart(place, signal);
  const line = chart.addSeries(LineSeries, {
    lineWidth: 2,
    pointMarkersVisible: true,
    lastValueVisible: false,
    priceFormat: { type: "price", precision: 3, minMove: 0.001 },
  });
  line.setData(points.map(([night, value]) => ({ time: /** @type {UTCTimestamp} */ (night), value })));
  const wear = () => line.applyOptions({ color: readColours().accent ?? "" });
  wear();
  document.addEventListener("theme", wear, { signal });
  chart.applyOptions({ handleScroll: false, handleScale: false });
  chart.timeScale().fitContent();
}

/**
 * @param {Model[]} models
 * @param {number[]} champions
 */
function listOf(models, champions) {
  const columns = [
    { name: "Model" },
    { name: "Scorer" },
    { name: "State" },
    ...METRICS.map(([, name = ""]) => ({ name, number: true })),
    { name: "Learned from" },
    { name: "Why", text: true },
    { name: "Night" },
  ];
  const rows = models.map((one) => [
    one.name,
    words(one.scorer),
    champions.includes(one.id) ? h("strong", { class: "good" }, "champion") : words(one.state),
    ...METRICS.map(([metric = ""]) => fixed(one.metrics[metric])),
    one.learned ? `${isoDay(Date.parse(one.learned.start))} – ${isoDay(Date.parse(one.learned.end))}` : "–",
    one.reason ?? "",
    one.has_report
      ? h("a", { href: address("/chandler/models/report", { model: one.id }) }, dayText(Date.parse(one.created_at)))
      : dayText(Date.parse(one.created_at)),
  ]);
  const made = table("Models", columns, rows);
  for (const [at, row] of made.querySelectorAll("tbody tr").entries())
    row.setAttribute("data-model", String(models[at]?.id));
  return made;
}
