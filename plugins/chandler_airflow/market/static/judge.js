// The dialog in which people say what an incident was.

import { sendJson } from "./api.js";
import { h, put } from "./dom.js";
import { moment, words } from "./numbers.js";
import { failure } from "./waiting.js";

/** @typedef {import("../types/answers.d.ts").Incident} Incident */
/** @typedef {Pick<Incident, "id" | "series" | "kind" | "start" | "note">} Judged What the dialog shows of one. */
/** @typedef {"acknowledge" | "false" | "true"} Verdict */

/** @type {Record<Verdict, { title: string, help: string, name: string }>} */
const VERDICTS = {
  acknowledge: {
    title: "Acknowledge",
    help: "You have seen it. Nobody is told of it again unless it gets worse.",
    name: "Acknowledge",
  },
  false: {
    title: "False alarm",
    help: "Nothing was wrong. It stays on record, and counts as a false alarm.",
    name: "It was a false alarm",
  },
  true: { title: "No false alarm", help: "Something was wrong after all.", name: "It was real" },
};

/**
 * Ask for a note, and send the verdict.
 * @param {Judged} one
 * @param {Verdict} verdict
 * @param {() => void} done
 * @param {AbortSignal} signal
 */
export function judge(one, verdict, done, signal) {
  const { title, help, name } = VERDICTS[verdict];
  const note = h("textarea", { id: "judge-note", rows: 3, maxlength: 1000 }, one.note ?? "");
  const says = h("div", { role: "status" });
  const send = h("button", { type: "button", class: "primary" }, name);
  const close = () => dialog.close();
  const dialog = h(
    "dialog",
    { id: "judge", "aria-labelledby": "judge-title" },
    h("h2", { id: "judge-title" }, `${title}: ${words(one.kind)} of ${one.series}`),
    h("p", { class: "quiet" }, `Began ${moment(one.start)}. ${help}`),
    h("label", { for: "judge-note" }, "Note, for others to read"),
    note,
    says,
    h("div", { class: "bar" }, send, h("button", { type: "button", onclick: close }, "Cancel")),
  );
  send.addEventListener("click", async () => {
    send.disabled = true;
    try {
      await tell(one.id, verdict, note.value.trim());
      close();
      done();
    } catch (error) {
      put(says, failure(error));
      send.disabled = false;
      send.focus();
    }
  });
  signal.addEventListener("abort", close);
  dialog.addEventListener("close", () => {
    signal.removeEventListener("abort", close);
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
  note.focus();
}

/**
 * @param {number} id
 * @param {Verdict} verdict
 * @param {string} note
 */
function tell(id, verdict, note) {
  const path = `/chandler/api/incidents/${id}`;
  if (verdict === "acknowledge") return sendJson("POST", `${path}/acknowledge`, { note });
  return sendJson("POST", `${path}/judge`, { is_false: verdict === "false", note });
}
