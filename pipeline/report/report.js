"use strict";
// Shows the photo of the point under the pointer, and where the other engines put it.
const atlas = JSON.parse(document.getElementById("atlas").textContent);
const tip = document.getElementById("tip");
const [picture, name, label] = tip.children;
const zoom = 128 / atlas.tile;
picture.style.backgroundSize = `${zoom * atlas.tile * atlas.columns}px`;

function show(event) {
  const point = event.target.closest("circle");
  for (const one of document.querySelectorAll("circle.on")) one.classList.remove("on");
  tip.style.display = point ? "block" : "none";
  if (!point) return;
  const at = Number(point.dataset.at);
  for (const one of document.querySelectorAll(`circle[data-at="${at}"]`)) one.classList.add("on");
  const x = (at % atlas.columns) * 128, y = Math.floor(at / atlas.columns) * 128;
  picture.style.backgroundPosition = `-${x}px -${y}px`;
  [name.textContent, label.textContent] = atlas.texts[at];
  const box = tip.getBoundingClientRect();
  const left = event.clientX + 14, top = event.clientY + 14;
  tip.style.left = `${Math.max(4, Math.min(left, innerWidth - box.width - 4))}px`;
  tip.style.top = `${top + box.height > innerHeight ? event.clientY - box.height - 14 : top}px`;
}
for (const map of document.querySelectorAll(".map")) {
  map.addEventListener("pointerover", show);
  map.addEventListener("pointerdown", show);
  map.addEventListener("pointerleave", show);
}
