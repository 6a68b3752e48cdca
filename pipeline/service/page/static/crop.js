// A part of the photo to search with: drag a box, tap two corners, or use the arrow keys.

const STEP = 0.02; // of the photo's side, for each press of an arrow key
const LEAST = 0.03; // side of the smallest part
const DRAGGED = 6; // pixels from which on a press is a drag
const PAUSE = 700; // ms after the last key

const HINT = "Drag over a part, or tap two corners, to search with that part.";
const SECOND = "Now tap the opposite corner.";
const KEYS = "Arrow keys move the part, with Shift they change its size, Escape takes the whole photo.";
const CORNERS = [[0, 0], [1, 0], [0, 1], [1, 1]];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const percent = (value) => `${100 * value}%`;

/** The upright box between two points; lengths are in parts of the photo's sides. */
export function between([ax, ay], [bx, by]) {
  return { x: Math.min(ax, bx), y: Math.min(ay, by), w: Math.abs(ax - bx), h: Math.abs(ay - by) };
}

/** "x,y,w,h", which never reaches over the edge by rounding. */
export function written({ x, y, w, h }) {
  const start = [x, y].map((value) => Math.round(value * 1e4));
  const end = [x + w, y + h].map((value) => Math.min(10000, Math.round(value * 1e4)));
  return [...start, end[0] - start[0], end[1] - start[1]].map((value) => value / 1e4).join(",");
}

function parsed(text) {
  const [x, y, w, h] = text.split(",").map(Number);
  return text ? { x, y, w, h } : null;
}

export function attachCrop(figure, visit) {
  const picture = figure.querySelector("img");
  if (!picture) return;
  figure.crop ??= new Crop(figure, picture, visit);
  figure.crop.show(parsed(figure.dataset.region ?? ""));
}

function element(parent, name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  parent.append(made);
  return made;
}

function button(figure, text, action) {
  const made = element(figure.querySelector(".tools"), "button", "plain", text);
  made.type = "button";
  made.addEventListener("click", action);
  return made;
}

class Crop {
  constructor(figure, picture, visit) {
    Object.assign(this, { figure, picture, visit, box: null, first: null, press: null });
    this.layer = element(picture.parentElement, "div", "crop");
    this.layer.tabIndex = 0;
    this.layer.role = "application";
    this.layer.ariaLabel = `Part of the photo to search with. ${KEYS}`;
    this.hint = figure.querySelector(".hint");
    this.whole = button(figure, "Whole photo", () => this.ask(""));
    this.auto = button(figure, "Only what stands out", () => this.ask("auto"));
    picture.addEventListener("error", () => this.remove());
    this.layer.addEventListener("pointerdown", (event) => this.down(event));
    this.layer.addEventListener("pointermove", (event) => this.move(event));
    this.layer.addEventListener("pointerup", (event) => this.up(event));
    this.layer.addEventListener("pointercancel", () => { this.press = null; this.show(this.asked); });
    this.layer.addEventListener("keydown", (event) => this.key(event));
  }

  remove() {
    for (const part of [this.layer, this.hint, this.whole, this.auto]) part.remove();
  }

  /** Draw a box that is searched with, or none. */
  show(box) {
    this.asked = box;
    this.first = null;
    this.draw(box);
  }

  draw(box) {
    this.box = box;
    this.layer.replaceChildren();
    this.whole.hidden = !box;
    this.auto.hidden = Boolean(box);
    this.hint.textContent = this.first ? SECOND : HINT;
    this.hint.hidden = Boolean(box);
    if (this.first) place(element(this.layer, "span", "tap"), this.first);
    if (!box) return;
    const frame = element(this.layer, "div", "box");
    place(frame, [box.x, box.y]);
    frame.style.width = percent(box.w);
    frame.style.height = percent(box.h);
    for (const [right, low] of CORNERS) {
      const corner = element(this.layer, "span", "corner");
      corner.opposite = [box.x + (1 - right) * box.w, box.y + (1 - low) * box.h];
      place(corner, [box.x + right * box.w, box.y + low * box.h]);
    }
  }

  at(event) {
    const { left, top, width, height } = this.layer.getBoundingClientRect();
    return [clamp((event.clientX - left) / width, 0, 1), clamp((event.clientY - top) / height, 0, 1)];
  }

  down(event) {
    if (!event.isPrimary || event.button) return;
    this.layer.setPointerCapture(event.pointerId);
    const start = this.at(event);
    const moved = event.target.className === "box" ? this.box : null;
    const fixed = event.target.opposite ?? start;
    this.press = { start, moved, fixed, x: event.clientX, y: event.clientY, isDrag: false };
  }

  move(event) {
    const { press } = this;
    if (!press || !event.isPrimary) return;
    press.isDrag ||= Math.hypot(event.clientX - press.x, event.clientY - press.y) > DRAGGED;
    if (!press.isDrag) return;
    this.first = null;
    const point = this.at(event);
    if (press.moved) this.draw(shifted(press.moved, point[0] - press.start[0], point[1] - press.start[1]));
    else this.draw(between(press.fixed, point));
  }

  up(event) {
    const { press } = this;
    if (!press || !event.isPrimary) return;
    this.press = null;
    if (press.isDrag) this.finish(this.box);
    else this.tap(press.start);
  }

  tap(point) {
    if (this.first) {
      this.finish(between(this.first, point));
      return;
    }
    this.first = point;
    this.draw(null);
  }

  finish(box) {
    if (box.w < LEAST || box.h < LEAST) this.show(this.asked);
    else this.take(box);
  }

  key(event) {
    clearTimeout(this.timer);
    if (event.key === "Escape" && this.first) this.show(this.asked);
    else if (event.key === "Escape" && this.box) this.ask("");
    else if (event.key === "Enter" && this.box) this.take(this.box);
    else if (event.key in ARROWS) this.arrow(event);
    else return;
    event.preventDefault();
  }

  arrow(event) {
    const [dx, dy] = ARROWS[event.key].map((direction) => direction * STEP);
    const { x, y, w, h } = this.box ?? { x: 0.2, y: 0.2, w: 0.6, h: 0.6 };
    if (!this.box) this.draw({ x, y, w, h });
    else if (event.shiftKey) {
      this.draw({ x, y, w: clamp(w + dx, LEAST, 1 - x), h: clamp(h + dy, LEAST, 1 - y) });
    } else this.draw(shifted(this.box, dx, dy));
    this.timer = setTimeout(() => this.take(this.box), PAUSE);
  }

  take(box) {
    this.show(box);
    this.ask(written(box));
  }

  /** Search with a region: "x,y,w,h", "auto", or "" for the whole photo. */
  async ask(region) {
    clearTimeout(this.timer);
    if (!region) this.show(null);
    this.layer.focus({ preventScroll: true }); // the button that was pressed goes away
    const url = new URL(location);
    url.searchParams.delete("k");
    url.searchParams.delete("region");
    if (region) url.searchParams.set("region", region);
    if (this.figure.dataset.kind !== "item") this.visit(url);
    else if (region) this.visit(without(url, "item"), { photo: await photoAt(this.picture.dataset.full) });
  }
}

function place(made, [x, y]) {
  made.style.left = percent(x);
  made.style.top = percent(y);
}

function shifted({ x, y, w, h }, dx, dy) {
  return { x: clamp(x + dx, 0, 1 - w), y: clamp(y + dy, 0, 1 - h), w, h };
}

function without(url, name) {
  url.searchParams.delete(name);
  return url;
}

/** A part of an item's photo is searched with as a photo. */
async function photoAt(address) {
  return (await fetch(address)).blob();
}
