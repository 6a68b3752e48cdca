// From one page to the next without leaving it: photos and earlier pages stay at hand.

import { answered, failure, pageOf, Refusal } from "./answers.js";
import { attachCrop } from "./crop.js";
import { keep, kept, pictureOf, scaledDown } from "./photo.js";
import { attachViews } from "./views.js";

const MAX_PAGES = 30; // kept for Back and forward
const SLOW = 8000; // ms
const SIDE = Number(document.body.dataset.side); // pixels of a photo that the engines make use of

const pages = new Map(); // entry of the history → {main, title, scroll}
let entry = history.state?.entry ?? crypto.getRandomValues(new Uint32Array(1))[0];
let waiting = new AbortController();

const main = () => document.querySelector("main");
const say = (text) => { document.querySelector("#status").textContent = text; };
/** Say it, and write it where the answer will be, if nothing else is there yet. */
const tell = (text) => {
  say(text);
  const title = document.querySelector("[aria-busy]:has(.waiting) h1");
  if (title) title.textContent = text;
};

/** Go to a page. `photo`: a new one to search with; `replace`: without a step in the history;
    `stay`: where the page is scrolled to. */
export async function visit(address, { photo, replace = false, stay = false } = {}) {
  waiting.abort();
  waiting = new AbortController();
  const { signal } = waiting;
  const url = new URL(address, location);
  if (photo) show(photo, url, replace);
  else document.querySelector("#results")?.setAttribute("aria-busy", "true");
  say("Searching");
  const slow = setTimeout(() => tell("Still searching…"), SLOW);
  try {
    const sent = photo ? await scaledDown(photo, SIDE) : kept(url.searchParams.get("upload"));
    const busy = () => tell("Many are searching just now: trying again");
    const page = await pageOf(await answered(url, sent, signal, busy));
    signal.throwIfAborted();
    if (!page.querySelector("main")) {
      location.assign(url); // a page of another kind, such as the one that asks for a token
      return;
    }
    const key = page.querySelector(".query")?.dataset.key;
    if (sent && key) {
      keep(key, sent);
      url.searchParams.set("upload", key);
    }
    turn(page, url, { replace: replace || Boolean(photo), stay });
  } catch (error) {
    if (signal.aborted) return;
    // A TypeError is what `fetch` throws.
    if (!(error instanceof TypeError || error instanceof Refusal)) throw error;
    const again = () => visit(url, { photo, replace: replace || Boolean(photo), stay });
    fail(error instanceof Refusal ? error.message : "", again);
  } finally {
    clearTimeout(slow);
  }
}

/** Show a new photo at once, with empty places for what will be found. */
function show(photo, url, replace) {
  const page = document.createElement("main");
  page.id = "main";
  page.tabIndex = -1;
  page.append(document.querySelector("#waiting").content.cloneNode(true));
  page.querySelector(".none").replaceWith(pictureOf(photo));
  step(url, replace);
  main().replaceWith(page);
  scrollTo(0, 0);
}

function fail(text, again) {
  const results = document.querySelector("#results") ?? main();
  results.replaceChildren(failure(text));
  results.querySelector("[data-again]").addEventListener("click", (event) => {
    event.preventDefault();
    again();
  });
  results.removeAttribute("aria-busy");
  say("No answer");
}

/** Make a step in the history; the page that is left is kept for its entry. */
function step(url, replace) {
  if (!replace) {
    leave();
    entry += 1;
  }
  history[replace ? "replaceState" : "pushState"]({ entry }, "", url);
}

function leave() {
  if (main().querySelector(".waiting, [aria-busy]")) return;
  pages.set(entry, { main: main(), title: document.title, scroll: scrollY });
  if (pages.size > MAX_PAGES) pages.delete(pages.keys().next().value);
}

function turn(page, url, { replace, stay }) {
  const [old, next] = [main(), document.adoptNode(page.querySelector("main"))];
  const focused = document.activeElement;
  const cards = shownCards().length;
  old.querySelector("[aria-busy]:not(:has(.waiting))")?.removeAttribute("aria-busy");
  step(url, replace);
  document.title = page.title;
  const isSame = isSameQuery(old, next);
  if (isSame) exchange(old, next);
  else old.replaceWith(next);
  attach();
  say(document.querySelector("[data-say]")?.dataset.say ?? page.title);
  const wrong = main().querySelector("[aria-invalid]");
  if (isSame || stay || wrong) {
    if (wrong) wrong.focus();
    else refocus(focused, cards);
    return;
  }
  main().focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** The hits of the first list that can be seen. */
const shownCards = () =>
  [...document.querySelectorAll(".panel")].find((panel) => panel.offsetParent)
    ?.querySelectorAll(".card") ?? [];

const isSameQuery = (old, next) => {
  const [a, b] = [old, next].map((page) => page.querySelector(".query")?.dataset);
  return Boolean(a && b && b.key && a.kind === b.kind && a.key === b.key);
};

/** Of the same photo only the answer and the filters are exchanged. */
function exchange(old, next) {
  for (const [kept, page] of pages) if (page.main === old) pages.delete(kept);
  const isOpen = old.querySelector(".filters")?.open ?? false;
  for (const part of ["#results", ".words", ".filters"]) {
    old.querySelector(part)?.replaceWith(next.querySelector(part) ?? "");
  }
  const filters = old.querySelector(".filters");
  if (filters) filters.open ||= isOpen;
  old.querySelector(".query").dataset.region = next.querySelector(".query").dataset.region;
}

/** Focus what stands where the control stood that had it; after "show more" the first new hit. */
function refocus(element, cards) {
  if (!element || element.isConnected) return;
  const name = CSS.escape(element.name ?? "");
  const controls = document.querySelectorAll(`[name="${name}"]:not([type="hidden"])`);
  const same = [...controls].find((c) => c.type !== "checkbox" || c.value === element.value);
  const first = "keep" in element.dataset ? shownCards()[cards] : null;
  (first ?? same)?.focus({ preventScroll: true });
}

/** Give a page that has just come what its HTML does not have. */
export function attach() {
  const figure = document.querySelector(".query");
  const photo = kept(figure?.dataset.key);
  if (photo) figure.querySelector(".none")?.replaceWith(pictureOf(photo));
  if (figure?.dataset.kind) attachCrop(figure, visit);
  attachViews();
  attachHeader();
}

function attachHeader() {
  const { pathname, searchParams } = new URL(location);
  for (const link of document.querySelectorAll("header nav a")) {
    link.ariaCurrent = link.pathname === pathname ? "page" : null;
  }
  document.querySelector("#find").value = searchParams.get("q") ?? "";
}

/** Show the page of an entry of the history: as it was left, or else asked for again. */
export function back(state) {
  waiting.abort();
  leave();
  entry = state?.entry ?? entry;
  const page = pages.get(entry);
  if (!page) {
    visit(location, { replace: true });
    return;
  }
  main().replaceWith(page.main);
  document.title = page.title;
  attachHeader();
  scrollTo(0, page.scroll);
  say(page.title);
}

/** Take over the page that the browser has loaded. */
export function start() {
  history.replaceState({ entry }, "");
  history.scrollRestoration = "manual";
  const isMissing = document.querySelector(".query .none") !== null;
  attach();
  if (isMissing && kept(new URL(location).searchParams.get("upload"))) {
    visit(location, { replace: true });
  }
}
