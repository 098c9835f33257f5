// Elements by function calls. No text ever becomes markup, so nothing that the warehouse holds can run here.

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, unknown>} [attributes] `onclick` and its like are listeners; null and false leave one out.
 * @param {...(Node | string | number | null | undefined | false | (Node | string)[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") {
      element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) {
      element.append(child instanceof Node ? child : String(child));
    }
  }
  return element;
}

/**
 * Make a table with a caption for those who hear it; a cell is text or an element.
 * @param {string} caption
 * @param {{ name: string, number?: boolean, text?: boolean }[]} columns `text` may take several lines.
 * @param {(Node | string | number)[][]} rows
 */
export function table(caption, columns, rows) {
  const align = columns.map((column) => (column.number ? "number" : column.text ? "text" : null));
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", { class: "hidden" }, caption),
      h(
        "thead",
        {},
        h("tr", {}, ...columns.map((column, at) => h("th", { scope: "col", class: align[at] }, column.name))),
      ),
      h(
        "tbody",
        {},
        ...rows.map((row) =>
          h("tr", {}, ...row.map((cell, at) => h("td", { class: align[at], "data-name": columns[at]?.name }, cell))),
        ),
      ),
    ),
  );
}

/**
 * Make a heading with what belongs to it.
 * @param {string} title
 * @param {...(Node | string | null | undefined)} content
 */
export function section(title, ...content) {
  return h("section", {}, h("h2", {}, title), ...content);
}

/**
 * Put these in place of all that is there.
 * @param {Element} place
 * @param {...(Node | string)} content
 */
export function put(place, ...content) {
  place.replaceChildren(...content);
}

/**
 * Draw once per frame, however often it is asked for.
 * @param {() => void} draw
 */
export function oncePerFrame(draw) {
  let asked = 0;
  return () => {
    if (asked) return;
    asked = requestAnimationFrame(() => {
      asked = 0;
      draw();
    });
  };
}

/**
 * Fit a canvas to its size on the page in the device's own pixels, and return what draws in CSS pixels.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width
 * @param {number} height
 */
export function prepareCanvas(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [w, t] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== t) {
    canvas.width = w;
    canvas.height = t;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/**
 * Write a label of an axis if all of it fits between 0 and `width`: a number that the edge cuts is another number.
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {number} width
 */
export function writeWhole(context, text, x, y, width) {
  if (fits(context, text, x, width)) context.fillText(text, x, y);
}

/**
 * Return whether all of a text lies between 0 and `width`.
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} x
 * @param {number} width
 */
export function fits(context, text, x, width) {
  const { actualBoundingBoxLeft: left, actualBoundingBoxRight: right } = context.measureText(text);
  return x - left >= 0 && x + right <= width;
}
