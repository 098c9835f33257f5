// What is looked at stands in the address: `#view/series/day?query`. A link can be shared, and Back works.

/** @typedef {{ view: string, series: string, day: string, query: URLSearchParams }} Route */

/**
 * @param {string} hash
 * @returns {Route}
 */
export function parseRoute(hash) {
  const [path = "", search = ""] = hash.replace(/^#/, "").split(/\?(.*)/s);
  const [view = "", ...rest] = path.split("/");
  const day = view === "day" ? (rest.pop() ?? "") : "";
  return { view: view || "coverage", series: decode(rest.join("/")), day, query: new URLSearchParams(search) };
}

/**
 * Return the hash of a view.
 * @param {string} view
 * @param {string[]} [parts] The series, the day.
 * @param {Record<string, string | number | boolean | null | undefined> | URLSearchParams} [query]
 */
export function hashOf(view, parts = [], query = {}) {
  const pairs = query instanceof URLSearchParams ? [...query] : Object.entries(query);
  const given = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = given.map(([name, value]) => `${name}=${escaped(String(value))}`).join("&");
  return `#${[view, ...parts.map(escaped)].join("/")}${search ? `?${search}` : ""}`;
}

/** @typedef {{ fits: (text: string) => boolean, hint: string }} Rule */

/** @type {Rule} */
export const MOMENT = {
  fits: (text) => /^\d{4}-\d\d-\d\d/.test(text) && !Number.isNaN(Date.parse(text)),
  hint: "is no moment; write 2024-01-31 or 2024-01-31T12:00Z",
};

/**
 * @param {number} least
 * @param {number} most
 * @returns {Rule}
 */
export const wholeNumber = (least, most) => ({
  fits: (text) => /^\d+$/.test(text) && Number(text) >= least && Number(text) <= most,
  hint: `is no whole number from ${least} to ${most}`,
});

/**
 * @param {string[]} names
 * @returns {Rule}
 */
export const oneOf = (names) => ({ fits: (text) => names.includes(text), hint: `is none of ${names.join(", ")}` });

/**
 * Return what of an address cannot be meant, a sentence each.
 * @param {URLSearchParams} query
 * @param {Record<string, Rule>} rules By the names that are read.
 */
export function wrongIn(query, rules) {
  return Object.entries(rules).flatMap(([name, { fits, hint }]) => {
    const text = query.get(name);
    return text === null || text === "" || fits(text) ? [] : [`${name}: ${JSON.stringify(text)} ${hint}.`];
  });
}

/**
 * Change the query of what is shown, without a step in the history: for what moves under one's hand.
 * @param {Record<string, string | number | null>} changes
 */
export function remember(changes) {
  const { view, series, day, query } = parseRoute(location.hash);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") query.delete(name);
    else query.set(name, String(value));
  }
  history.replaceState(history.state, "", hashOf(view, series ? (day ? [series, day] : [series]) : [], query));
  tellAirflow();
}

/** Write our address into that of Airflow's page around us, so that reloading or sharing it leads here again. */
export function tellAirflow() {
  const outer = airflow();
  const root = outer?.location.pathname.match(/^.*?\/plugin\/[^/]+/)?.[0];
  if (!outer || !root) return;
  outer.history.replaceState(outer.history.state, "", root + location.pathname + location.search + location.hash);
}

/**
 * Lead the whole tab to an address: of Airflow, or outside. Airflow frames us in a sandbox that forbids links to it
 * from in here, so it is Airflow's own page that follows this one.
 * @param {string} url
 */
export function leave(url) {
  const outer = airflow();
  if (!outer) {
    location.assign(url);
    return;
  }
  const link = outer.document.createElement("a");
  link.href = new URL(url, location.href).href;
  link.click();
}

/** @returns {Window | null} Airflow's own window, if we are framed by it. */
export function airflow() {
  try {
    return window.parent !== window && window.parent.location.origin === location.origin ? window.parent : null;
  } catch {
    return null;
  }
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** @param {string} text A series stays readable: nothing but what has a meaning in a hash is escaped. */
function escaped(text) {
  return text.replace(/[%?#&+\s"<>]/g, encodeURIComponent);
}
