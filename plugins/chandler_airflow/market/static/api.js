// Asks our server and Airflow's, both with the login's cookie; says what is wrong in words.

/** @typedef {import("../types/answers.d.ts").Me} Me */

/** @type {Me} */
export const me = {
  name: "",
  base: "",
  ...JSON.parse(document.querySelector('meta[name="chandler"]')?.getAttribute("content") ?? "{}"),
};

/** An answer that is none: with its status, or 0 if nobody answered. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {number} status
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** @typedef {Record<string, string | number | boolean | string[] | null | undefined>} Query */

/**
 * Return the address of a path of Airflow or of ours; what of the query is null or empty is left out.
 * @param {string} path
 * @param {Query} [query]
 */
export function address(path, query = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === undefined || value === "") continue;
    for (const one of Array.isArray(value) ? value : [value]) search.append(name, String(one));
  }
  const text = search.toString();
  return `${me.base}${path}${text ? `?${text}` : ""}`;
}

/**
 * @param {string} path
 * @param {Query} [query]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export function getJson(path, query, signal) {
  return ask(address(path, query), { signal });
}

/**
 * @param {"POST" | "PATCH"} method
 * @param {string} path
 * @param {unknown} body
 * @returns {Promise<any>}
 */
export function sendJson(method, path, body) {
  // No form of another site can send this header: it shows that the page itself asks.
  const headers = { "Content-Type": "application/json", "X-Chandler": "1" };
  return ask(address(path), { method, headers, body: JSON.stringify(body) });
}

/**
 * @param {string} url
 * @param {RequestInit} how
 */
async function ask(url, how) {
  let answer;
  try {
    answer = await fetch(url, { ...how, credentials: "same-origin" });
  } catch (error) {
    if (how.signal?.aborted) throw error;
    throw new ApiError("Airflow's server does not answer.", 0);
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new ApiError(explain(body?.detail) || `The server answered ${answer.status}.`, answer.status);
  return body;
}

/**
 * Return what an answer's `detail` says: text, or FastAPI's list of what does not fit.
 * @param {unknown} detail
 * @returns {string}
 */
function explain(detail) {
  if (typeof detail === "string") return detail;
  if (Array.isArray(detail)) return detail.map((one) => one?.msg ?? "").join("; ");
  if (detail && typeof detail === "object" && "reason" in detail) return String(detail.reason);
  return "";
}
