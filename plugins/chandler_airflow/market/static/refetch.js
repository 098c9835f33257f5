// Loads a day again, or for the first time, through Airflow's own API: as who is logged in, by the DAGs' own tasks.

import { dagPage, FETCH, findRun, findTask, isPaused, readRunState, readStates, runPage } from "./airflow.js";
import { ApiError, sendJson } from "./api.js";
import { DAY_MS } from "./numbers.js";

/** @typedef {import("../types/answers.d.ts").FeedOfDay} FeedOfDay */
/** @typedef {{ dag: string, from: string, end: number, isMonth: boolean }} Plan `end`: when its data interval does. */
/**
 * @typedef {object} Told What is said while it goes on.
 * @property {string} text
 * @property {string} [page] Where in Airflow it can be seen.
 * @property {boolean} [isOver]
 * @property {boolean} [isWrong]
 * @property {string} [pausedDag] The DAG that must be switched on before anything can run.
 */

const PAUSE_MS = 1000;
const LOOKS = 5;
// How many looks in a row may fail, as they do while Airflow's server starts anew.
const MOST_FAILED = 10;
const MOST_CLEARED = 3;
const ENDED = new Set(["success", "failed", "upstream_failed", "skipped", "removed"]);

/**
 * Return which DAG loads a day: the daily one from the feed's start on, the monthly one before. Null: no feed has it.
 * @param {FeedOfDay[]} feeds
 * @param {string} day
 * @returns {Plan | null}
 */
export function planRefetch(feeds, day) {
  const daily = feeds.find((feed) => feed.start <= day);
  if (daily) return { dag: daily.dag_id, from: day, end: Date.parse(day) + DAY_MS, isMonth: false };
  const feed = feeds[0];
  if (!feed) return null;
  const [year, month] = day.split("-").map(Number);
  const end = Date.UTC(year ?? 0, month ?? 0);
  return { dag: feed.history_dag_id, from: `${day.slice(0, 7)}-01`, end, isMonth: true };
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
    for (let cleared = 1; ; cleared += 1) {
      tell({ text: `Clearing the partition in ${run.dag_run_id} …`, page });
      await clear(dag, run.dag_run_id, task.map_index);
      const outcome = await watch(dag, run.dag_run_id, series, tell, signal, cleared < MOST_CLEARED);
      if (outcome !== "forgotten") return outcome === "loaded";
    }
  } else {
    tell({ text: `Asking ${dag} for a backfill of ${plan.isMonth ? "the month" : "the day"} …` });
    await backfill(plan);
    run = await findMade(dag, day, signal);
    if (!run) {
      const why = `It has one whose logical date is ${plan.from}, but which loads other days`;
      const text = `${dag} began no run. ${why}: somebody triggered it. Delete that run in Airflow, then try again.`;
      tell({ text, page: dagPage(dag), isOver: true, isWrong: true });
      return false;
    }
  }
  return (await watch(dag, run.dag_run_id, series, tell, signal)) === "loaded";
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
 * Return the run that a backfill has made. Airflow makes it before it answers, so it is there soon or never: it makes
 * none whose logical date another has, whatever days that one loads.
 * @param {string} dag
 * @param {string} day
 * @param {AbortSignal} signal
 */
async function findMade(dag, day, signal) {
  for (let look = 1; look <= LOOKS; look += 1) {
    const run = await patiently(() => findRun(dag, day, signal), signal);
    if (run) return run;
    await pause(signal);
  }
  return null;
}

/**
 * Tell of a partition until it is loaded and accounted for, or never will be.
 * @param {string} dag
 * @param {string} run
 * @param {string} series
 * @param {(told: Told) => void} tell
 * @param {AbortSignal} signal
 * @param {boolean} [mayClear] Whether it can be cleared once more. Airflow may end a run, all of whose tasks had ended
 *   when it looked, just after one of them was cleared; that one never runs then, and is `forgotten`.
 * @returns {Promise<"loaded" | "failed" | "forgotten">}
 */
async function watch(dag, run, series, tell, signal, mayClear = false) {
  const page = runPage(dag, run);
  /** @type {number | null} */
  let index = null;
  const look = async () => {
    // The run first: once that has ended, so have all of its tasks.
    const isOver = ENDED.has(await readRunState(dag, run, signal));
    index ??= (await findTask(dag, run, FETCH, series, signal))?.map_index ?? null;
    return { isOver, states: index === null ? {} : await readStates(dag, run, index, signal) };
  };
  for (;;) {
    const { isOver, states } = await patiently(look, signal);
    if (mayClear && isOver && !ENDED.has(states.load ?? "")) return "forgotten";
    const end = endOf(states, isOver);
    tell({ page, ...(end ?? { text: index === null ? "Waiting for the first task …" : inWords(states) }) });
    if (end) return states.load === "success" ? "loaded" : "failed";
    await pause(signal);
  }
}

/**
 * Say how it has ended; null while it goes on.
 * @param {Record<string, string | null>} states
 * @param {boolean} isOver Whether the run is.
 * @returns {Told | null}
 */
function endOf({ load, account }, isOver) {
  if (load === "success") {
    // Why candles are absent is judged after all loads, so that the day is what it will be only then.
    if (account === "failed") {
      const text = "Why candles are absent the next run judges, as account failed: its log in Airflow says why.";
      return { text, isOver: true, isWrong: true };
    }
    return isOver || ENDED.has(account ?? "") ? { text: "Loaded.", isOver: true } : null;
  }
  if (ENDED.has(load ?? "")) {
    return { text: "It failed. The task's log in Airflow says why.", isOver: true, isWrong: true };
  }
  if (!isOver) return null;
  const text =
    "The run has ended without loading this series. Clear the run in Airflow: then it loads all of its series.";
  return { text, isOver: true, isWrong: true };
}

/** @param {Record<string, string | null>} states */
function inWords(states) {
  const tasks = states.load === "success" ? ["load", "account"] : ["fetch", "clean", "load"];
  return tasks.map((task) => `${task}: ${states[task] ?? "waiting"}`).join(" · ");
}

/**
 * Ask again where it is the server that could not answer.
 * @template T
 * @param {() => Promise<T>} ask
 * @param {AbortSignal} signal
 * @returns {Promise<T>}
 */
async function patiently(ask, signal) {
  for (let failed = 1; ; failed += 1) {
    try {
      return await ask();
    } catch (error) {
      const isPassing = error instanceof ApiError && (error.status === 0 || error.status >= 500);
      if (!isPassing || failed > MOST_FAILED) throw error;
    }
    await pause(signal);
  }
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function pause(signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, PAUSE_MS);
    signal.addEventListener("abort", stop, { once: true });
  });
}
