// All series, to choose one.

import { h, put, table } from "./dom.js";
import { lag, moment } from "./numbers.js";
import { hashOf } from "./route.js";
import { note } from "./waiting.js";

/** @typedef {import("./market.js").Context} Context */
/** @typedef {import("../types/answers.d.ts").SeriesInfo} SeriesInfo */

/**
 * @param {Context} context
 * @param {SeriesInfo[]} all
 */
export function listSeries({ place, filter, signal }, all) {
  if (!all.length) {
    const words = ["Write the symbols into ", h("code", {}, "feeds.toml"), " and switch on their DAG in Airflow."];
    put(place, h("h1", {}, "Series"), note("There is no series yet", ...words));
    return;
  }
  const body = h("div", {});
  put(place, h("h1", {}, "Series"), body);
  const fill = () => {
    const parts = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = all.filter(({ series }) => parts.every((part) => series.toLowerCase().includes(part)));
    put(body, shown.length ? rows(shown) : note("No series is like that", "Change what stands in the filter above."));
  };
  filter.addEventListener("input", fill, { signal });
  fill();
}

/** @param {SeriesInfo[]} shown */
function rows(shown) {
  const columns = [
    ...["Series", "Feeds", "First candle", "Last candle", "Loaded", "Behind", "Complete up to", "Other venues"],
  ].map((name) => ({ name }));
  return table(
    "Series",
    columns,
    shown.map((one) => [
      h("a", { href: hashOf("series", [one.series]), "data-series": one.series }, one.series),
      one.feeds.join(", ") || "none",
      moment(one.first),
      moment(one.last),
      moment(one.last_load),
      one.ended ? "ended" : lag(one.end),
      moment(one.ended ?? one.watermark),
      one.siblings.map((other) => other.split(":")[0]).join(", "),
    ]),
  );
}
