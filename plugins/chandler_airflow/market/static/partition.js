// From the tab on a task instance to what it loaded: its series, and the days of its run.

import { getJson } from "./api.js";
import { isoDay } from "./numbers.js";
import { hashOf } from "./route.js";

/**
 * Return the hash that shows the partition of a task instance: its day, or the chart of its month.
 * @param {URLSearchParams} shell `dag`, `run`, `task` and `index`, as Airflow's tab gives them.
 */
export async function fromTask(shell) {
  const part = (/** @type {string} */ name) => encodeURIComponent(shell.get(name) ?? "");
  const run = `/api/v2/dags/${part("dag")}/dagRuns/${part("run")}`;
  const facts = await getJson(run);
  const index = Number(shell.get("index") ?? -1);
  const path = `${run}/taskInstances/${part("task")}${index >= 0 ? `/${index}` : ""}`;
  const series = index >= 0 ? (await getJson(path)).rendered_map_index : null;
  const [start, end] = [facts.data_interval_start, facts.data_interval_end];
  // A task that is no partition, or never began, has no name of a series.
  if (!series?.includes(":") || !start) return hashOf("coverage");
  const days = (Date.parse(end) - Date.parse(start)) / 86_400_000;
  return days > 1 ? hashOf("series", [series], { start, end }) : hashOf("day", [series, isoDay(Date.parse(start))]);
}
