// Light or dark as Airflow is: it puts a class on its own root element, and keeps the choice in localStorage.

import { airflow } from "./route.js";

const SYSTEM = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  const outer = airflow()?.document.documentElement.classList;
  if (outer?.contains("dark")) return true;
  if (outer?.contains("light")) return false;
  const chosen = localStorage.getItem("theme");
  return chosen === "dark" || (chosen !== "light" && SYSTEM.matches);
}

/** Wear the theme, and change it when Airflow or the system does; whoever draws by hand hears "theme" on document. */
export function followTheme() {
  const wear = () => {
    const theme = isDark() ? "dark" : "light";
    if (document.documentElement.dataset.theme === theme) return;
    document.documentElement.dataset.theme = theme;
    document.dispatchEvent(new Event("theme"));
  };
  wear();
  SYSTEM.addEventListener("change", wear);
  window.addEventListener("storage", wear);
  const outer = airflow();
  if (outer) new MutationObserver(wear).observe(outer.document.documentElement, { attributeFilter: ["class"] });
}
