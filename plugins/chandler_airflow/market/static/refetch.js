// Loads a day again, or for the first time, through Airflow's own API: as who is logged in, by the DAGs' own tasks.

import { FETCH, findRun, findTask, isPaused, readStates, runPage } from "./airflow.js";
import { sendJson } from "./api.js";

/** @typedef {import("../types/answers.d.ts").FeedOfDay} FeedOfDay */
/** @typedef {{ dag: string, from: string, isMonth: boolean }} Plan */
/**
 * @typedef {object} Told What is said while it goes on.
 * @property {string} text
 * @property {string} [page] Where in Airflow it can be seen.
 * @property {boolean} [isOver]
 * @property {boolean} [isWrong]
 * @property {string} [pausedDag] The DAG that must be switched on before anything can run.
 */

const PAUSE_MS = 1000;
const ENDED = new Set(["success", "failed", "upstream_failed", "skipped", "removed"]);

/**
 * Return which DAG loads a day: the daily one from the feed's start on, the monthly one before. Null: no feed has it.
 * @param {FeedOfDay[]} feeds
 * @param {string} day
 * @returns {Plan | null}
 */
export function planRefetch(feeds, day) {
  const daily = feeds.find((feed) => feed.start <= day);
  if (daily) return { dag: daily.dag_id, from: day, isMonth: false };
  const feed = feeds[0];
  return feed ? { dag: feed.history_dag_id, from: `${day.slice(0, 7)}-01`, isMonth: true } : null;
}

/**
 * Run the partition of a day once more, and tell of it until it has ended.
 * @param {Plan} plan
 * @param {string} series
 * @param {string} day
 * @param {(told: Told) => void} tell
 * @param {AbortSignal} signal
 * @returns {Promise<boolean>} Whether it was loaded.
 */
export async function refetch(plan, series, day, tell, signal) {
  const { dag } = plan;
  if (await isPaused(dag, signal)) {
    tell({ text: `The DAG ${dag} is switched off, so nothing of it would run.`, pausedDag: dag, isOver: true });
    return false;
  }
  let run = await findRun(dag, day, signal);
  if (run) {
    const task = await findTask(dag, run.dag_run_id, FETCH, series, signal);
    const page = runPage(dag, run.dag_run_id);
    if (!task) {
      const text = "The run of this day has no task of this series yet. Clear the run in Airflow, then it has.";
      tell({ text, page, isOver: true, isWrong: true });
      return false;
    }
    tell({ text: `Clearing the partition in ${run.dag_run_id} …`, page });
    await clear(dag, run.dag_run_id, task.map_index);
  } else {
    tell({ text: `Asking ${dag} for a backfill of ${plan.isMonth ? "the month" : "the day"} …` });
    await backfill(plan);
    run = await waitForRun(dag, day, tell, signal);
  }
  return watch(dag, run.dag_run_id, series, tell, signal);
}

/** @param {string} dag */
export function switchOn(dag) {
  return sendJson("PATCH", `/api/v2/dags/${encodeURIComponent(dag)}`, { is_paused: false });
}

/**
 * @param {string} dag
 * @param {string} run
 * @param {number} index
 */
function clear(dag, run, index) {
  return sendJson("POST", `/api/v2/dags/${encodeURIComponent(dag)}/clearTaskInstances`, {
    dry_run: false,
    dag_run_id: run,
    task_ids: [[FETCH, index]],
    include_downstream: true,
    only_failed: false,
  });
}

/** @param {Plan} plan */
function backfill({ dag, from }) {
  const date = `${from}T00:00:00Z`;
  return sendJson("POST", "/api/v2/backfills", {
    dag_id: dag,
    from_date: date,
    to_date: date,
    reprocess_behavior: "none",
    max_active_runs: 1,
  });
}

/**
 * @param {string} dag
 * @param {string} day
 * @param {(told: Told) => void} tell
 * @param {AbortSignal} signal
 */
async function waitForRun(dag, day, tell, signal) {
  for (;;) {
    const run = await findRun(dag, day, signal);
    if (run) return run;
    tell({ text: "Waiting for Airflow to begin the run …" });
    await pause(signal);
  }
}

/**
 * @param {string} dag
 * @param {string} run
 * @param {string} series
 * @param {(told: Told) => void} tell
 * @param {AbortSignal} signal
 */
async function watch(dag, run, series, tell, signal) {
  const page = runPage(dag, run);
  /** @type {number | null} */
  let index = null;
  for (;;) {
    index ??= (await findTask(dag, run, FETCH, series, signal))?.map_index ?? null;
    const states = index === null ? {} : await readStates(dag, run, index, signal);
    const load = states.load ?? "";
    if (ENDED.has(load)) {
      const isWrong = load !== "success";
      const text = isWrong ? "It failed. The task's log in Airflow says why." : "Loaded.";
      tell({ text, page, isOver: true, isWrong });
      return !isWrong;
    }
    tell({ text: index === null ? "Waiting for the first task …" : inWords(states), page });
    await pause(signal);
  }
}

/** @param {Record<string, string | null>} states */
function inWords(states) {
  return ["fetch", "clean", "load"].map((task) => `${task}: ${states[task] ?? "waiting"}`).join(" · ");
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function pause(signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, PAUSE_MS);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
