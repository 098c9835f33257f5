// What a load of a day has changed, by the day's account before it and after.

/**
 * @typedef {object} Account
 * @property {{ stored: number, revisions: number, refused: Record<string, number> }} quality
 */

/**
 * Say what came and what was revised. A count that went down has no words: what is stored stays.
 * @param {Account} before
 * @param {Account} after
 */
export function outcomeOf({ quality: before }, { quality: after }) {
  const parts = [
    told(after.stored - before.stored, "candle", "came", "came"),
    told(after.revisions - before.revisions, "candle", "was revised", "were revised"),
    told(sum(after.refused) - sum(before.refused), "row", "was refused", "were refused"),
  ].filter((part) => part !== "");
  if (parts.length) return `${parts.join(", ")}.`;
  const { stored } = after;
  if (!stored) return "Nothing came: no candle of this day is stored.";
  return `Nothing new came: the ${told(stored, "candle", "", "").trim()} of this day ${stored === 1 ? "is" : "are"} as before.`;
}

/**
 * @param {number} n
 * @param {string} thing
 * @param {string} did
 * @param {string} theyDid
 */
function told(n, thing, did, theyDid) {
  if (n <= 0) return "";
  return n === 1 ? `1 ${thing} ${did}` : `${n.toLocaleString("en-US")} ${thing}s ${theyDid}`;
}

/** @param {Record<string, number>} of */
const sum = (of) => Object.values(of).reduce((total, n) => total + n, 0);
