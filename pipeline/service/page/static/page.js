// Each page is whole without this script. It fetches the next one in the background and puts its
// <main> in place, so that a photo need not be chosen again for a filter, a part of it, or Back.

import { ask } from "./ask.js";
import { back, start, visit } from "./visit.js";

addEventListener("popstate", (event) => back(event.state));

addEventListener("click", (event) => {
  const isPlain = !(event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
  if (event.defaultPrevented || !isPlain) return;
  if (event.target.closest("[data-again]")) {
    event.preventDefault();
    visit(location, { replace: true });
    return;
  }
  const link = event.target.closest("a[href]");
  if (!link || link.origin !== location.origin || "plain" in link.dataset || link.hash) return;
  event.preventDefault();
  const stay = "keep" in link.dataset;
  visit(withView(link.href), { replace: stay, stay });
});

addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "get") return;
  event.preventDefault();
  const url = new URL(form.action);
  url.search = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
  visit(withView(url), { stay: form.closest(".filters") !== null });
});

addEventListener("change", (event) => {
  const form = event.target.closest(".filters form");
  if (form && event.target.name !== "where") form.requestSubmit();
});

/** An address with the view that is chosen, if it is one of a search. */
function withView(href) {
  const url = new URL(href, location);
  const view = document.querySelector("#results")?.dataset.chosen;
  if (view && url.pathname.endsWith("/search")) url.searchParams.set("view", view);
  return url;
}

document.documentElement.classList.add("script");
ask(visit);
start();
