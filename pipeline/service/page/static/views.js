// Engines side by side, one at a time where there is no room, or all lists as one.

const BEST = "best";
const COMPARE = "compare";

export function attachViews() {
  const results = document.querySelector("#results");
  for (const button of results?.querySelectorAll(".views button") ?? []) {
    button.addEventListener("click", () => choose(results, button.value));
  }
  if (results?.querySelector(".views")) mark(results);
  const filters = document.querySelector(".filters");
  if (filters && matchMedia("(min-width: 56rem)").matches) filters.open = true;
}

function choose(results, view) {
  results.dataset.view = view;
  results.dataset.chosen = view;
  mark(results);
  const url = new URL(location);
  url.searchParams.set("view", view);
  history.replaceState(history.state, "", url);
}

/** Where there is room all engines are shown, so that to choose one or all of them is the same. */
function mark(results) {
  const { view } = results.dataset;
  const panels = [...results.querySelectorAll(".panel")];
  const names = panels.map((panel) => panel.dataset.panel).filter((name) => name !== BEST);
  const one = view === COMPARE ? names[0] : view;
  for (const panel of panels) panel.classList.toggle("off", panel.dataset.panel !== one);
  for (const button of results.querySelectorAll(".views button")) {
    const isShown = button.value === one || (button.value === COMPARE && view !== BEST);
    button.ariaPressed = String(isShown);
  }
}
