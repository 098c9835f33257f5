// What can be done on the page of one incident: the same as in the list of them, by whoever may act.

import { judge } from "./judge.js";

/** @typedef {import("./judge.js").Judged} Judged */
/** @typedef {import("./judge.js").Verdict} Verdict */

const place = document.getElementById("acts");
if (place) {
  /** @type {Judged} */
  const incident = JSON.parse(place.dataset.incident ?? "{}");
  const signal = new AbortController().signal;
  for (const button of place.querySelectorAll("button")) {
    const verdict = /** @type {Verdict} */ (button.dataset.verdict);
    button.addEventListener("click", () => judge(incident, verdict, () => location.reload(), signal));
  }
}
