// Airflow's own API: runs and mapped tasks of our DAGs. It asks with the login's cookie, so Airflow's roles decide.

import { address, getJson } from "./api.js";
import { h } from "./dom.js";
import { leave } from "./route.js";

/** @typedef {{ dag_id: string, dag_run_id: string, state: string, data_interval_start: string | null, data_interval_end: string | null }} Run */
/** @typedef {{ dag_id: string, dag_run_id: string, task_id: string, map_index: number, rendered_map_index: string | null, state: string | null }} Task */

export const FETCH = "partition.fetch";
export const LOAD = "partition.load";
const ACCOUNT = "account";
// The index of a task that is not mapped.
const WHOLE = -1;

/** @param {string} dag */
const dagPath = (dag) => `/api/v2/dags/${encodeURIComponent(dag)}`;

/**
 * @param {string} dag
 * @param {string} run
 */
const tasksPath = (dag, run) => `${dagPath(dag)}/dagRuns/${encodeURIComponent(run)}/taskInstances`;

/**
 * Return the run of a DAG whose data interval covers a day; null if there is none.
 * @param {string} dag
 * @param {string} day
 * @param {AbortSignal} [signal]
 * @returns {Promise<Run | null>}
 */
export async function findRun(dag, day, signal) {
  // A run's logical date is where its interval starts, so the latest that began by then are the ones to look at.
  const query = { logical_date_lte: `${day}T23:59:59Z`, order_by: "-logical_date", limit: 20 };
  const { dag_runs } = await getJson(`${dagPath(dag)}/dagRuns`, query, signal);
  const at = Date.parse(day);
  const covers = (/** @type {Run} */ run) =>
    Date.parse(run.data_interval_start ?? "") <= at && at < Date.parse(run.data_interval_end ?? "");
  return dag_runs.find(covers) ?? null;
}

/**
 * Return the mapped task of a series in a run; null if it never began, for it is named when it begins.
 * @param {string} dag May be `~`: whichever has such a run.
 * @param {string} run
 * @param {string} task
 * @param {string} series
 * @param {AbortSignal} [signal]
 * @returns {Promise<Task | null>}
 */
export async function findTask(dag, run, task, series, signal) {
  const query = { task_id: task, rendered_map_index_prefix_pattern: series, run_id_prefix_pattern: run, limit: 100 };
  const { task_instances } = await getJson(tasksPath(dag, dag === "~" ? "~" : run), query, signal);
  const isIt = (/** @type {Task} */ one) => one.rendered_map_index === series && one.dag_run_id === run;
  return task_instances.find(isIt) ?? null;
}

/**
 * Return the state of a run: queued, running, success or failed.
 * @param {string} dag
 * @param {string} run
 * @param {AbortSignal} [signal]
 * @returns {Promise<string>}
 */
export async function readRunState(dag, run, signal) {
  return (await getJson(`${dagPath(dag)}/dagRuns/${encodeURIComponent(run)}`, {}, signal)).state;
}

/**
 * Return the states of a partition's tasks by their short names, and of what follows them all: fetch, clean, load, account.
 * @param {string} dag
 * @param {string} run
 * @param {number} index
 * @param {AbortSignal} [signal]
 * @returns {Promise<Record<string, string | null>>}
 */
export async function readStates(dag, run, index, signal) {
  const query = { map_index: [`${index}`, `${WHOLE}`], limit: 100 };
  const { task_instances } = await getJson(tasksPath(dag, run), query, signal);
  const isOurs = (/** @type {Task} */ one) => one.map_index === index || one.task_id === ACCOUNT;
  const ours = task_instances.filter(isOurs);
  return Object.fromEntries(ours.map((/** @type {Task} */ one) => [one.task_id.replace("partition.", ""), one.state]));
}

/**
 * @param {string} dag
 * @param {AbortSignal} [signal]
 * @returns {Promise<boolean>}
 */
export async function isPaused(dag, signal) {
  return (await getJson(dagPath(dag), {}, signal)).is_paused;
}

/** @param {Task} task */
export const taskPage = ({ dag_id, dag_run_id, task_id, map_index }) =>
  `${runPage(dag_id, dag_run_id)}/tasks/${encodeURIComponent(task_id)}/mapped/${map_index}`;

/** @param {string} dag */
export const dagPage = (dag) => `/dags/${encodeURIComponent(dag)}`;

/**
 * @param {string} dag
 * @param {string} run
 */
export const runPage = (dag, run) => `${dagPage(dag)}/runs/${encodeURIComponent(run)}`;

/**
 * Make a link to a page of Airflow's, which takes the whole tab.
 * @param {string} path
 * @param {string} text
 */
export function outward(path, text) {
  const url = path.startsWith("https:") ? path : address(path);
  const go = (/** @type {MouseEvent} */ event) => {
    event.preventDefault();
    leave(url);
  };
  return h("a", { href: url, onclick: go }, text);
}
