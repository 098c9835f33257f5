// The button that loads a day again, and what is told while it does.

import { outward } from "./airflow.js";
import { getJson } from "./api.js";
import { h, put } from "./dom.js";
import { DAY_MS, isoDay, moment, monthText } from "./numbers.js";
import { outcomeOf } from "./outcome.js";
import { planRefetch, refetch, switchOn } from "./refetch.js";
import { failure } from "./waiting.js";

/** @typedef {import("../types/answers.d.ts").Day} Day */
/** @typedef {import("./refetch.js").Told} Told */

/**
 * @param {Day} facts
 * @param {HTMLElement} says Where it is told how it goes.
 * @param {() => Promise<Day | null>} again What shows the day anew, and gives its account.
 * @param {AbortSignal} signal
 */
export function refetchButton({ feeds, series, day, loads, may_act }, says, again, signal) {
  const plan = planRefetch(feeds, day);
  if (!plan) return byTerminal("No feed has this series.", series, day);
  // Airflow makes runs of what has ended, and of nothing else.
  if (Date.now() < plan.end) {
    const end = moment(plan.end);
    if (plan.isMonth) return byTerminal(`${plan.dag} loads whole months, and this one ends at ${end}.`, series, day);
    return h("p", { class: "bar" }, `This day ends at ${end}; ${plan.dag} loads it then.`);
  }
  if (!may_act) {
    return h("p", { class: "bar quiet" }, "Your role may look, not act: ask for one that may to load this day again.");
  }
  const name = nameOf(plan.isMonth, loads.length > 0, day);
  const button = h("button", { type: "button", id: "refetch", class: "primary" }, name);
  const act = async () => {
    // One that is disabled would lose the focus.
    if (button.ariaDisabled) return;
    button.ariaDisabled = "true";
    button.focus();
    try {
      // The page may have been open for long.
      const before = await getJson("/chandler/api/day", { series, day }, signal);
      /** @type {Told} */
      let last = { text: "" };
      const tell = (/** @type {Told} */ told) => {
        last = told;
        say(says, told, act);
      };
      if (!(await refetch(plan, series, day, tell, signal))) return;
      const after = await again();
      if (!after) return;
      const outcome = outcomeOf(before, after);
      say(says, { ...last, text: last.isWrong ? `${outcome} ${last.text}` : outcome }, act);
    } catch (error) {
      if (!signal.aborted) put(says, failure(error));
    } finally {
      button.ariaDisabled = null;
    }
  };
  button.addEventListener("click", act);
  return h("div", { class: "bar" }, button, says);
}

/**
 * @param {string} why
 * @param {string} series
 * @param {string} day
 */
function byTerminal(why, series, day) {
  const command = `chandler ingest ${series} --start ${day} --end ${isoDay(Date.parse(day) + DAY_MS)}`;
  return h("p", { class: "bar" }, `${why} In a terminal: `, h("code", {}, command));
}

/**
 * @param {boolean} isMonth
 * @param {boolean} isLoaded
 * @param {string} day
 */
function nameOf(isMonth, isLoaded, day) {
  if (isMonth) return `${isLoaded ? "Refetch" : "Backfill"} ${monthText(Date.parse(day))}`;
  return isLoaded ? "Refetch this day" : "Backfill this day";
}

/**
 * @param {HTMLElement} place
 * @param {Told} told
 * @param {() => void} again
 */
function say(place, { text, page, isOver, isWrong, pausedDag }, again) {
  place.className = isWrong ? "wrong" : isOver ? "" : "quiet";
  /** @type {(Node | string)[]} */
  const content = [text];
  if (page) content.push(" ", outward(page, "See it in Airflow"));
  if (pausedDag) {
    const on = async () => {
      try {
        await switchOn(pausedDag);
        again();
      } catch (error) {
        put(place, failure(error));
      }
    };
    content.push(" ", h("button", { type: "button", onclick: on }, `Switch ${pausedDag} on`));
  }
  put(place, ...content);
}
