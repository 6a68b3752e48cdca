"use strict";
// Shows the photo of the point under the pointer, and where the other engines put it.
const photos = JSON.parse(document.getElementById("photos").textContent);
const tip = document.getElementById("tip");
const [picture, name, label] = tip.children;
const zoom = 128 / photos.tile;
picture.style.backgroundSize = `${zoom * photos.tile * photos.columns}px`;

function show(event) {
  const point = event.target.closest("circle");
  for (const circle of document.querySelectorAll("circle.on")) circle.classList.remove("on");
  tip.style.display = point ? "block" : "none";
  if (!point) return;
  const photo = Number(point.dataset.photo);
  for (const circle of document.querySelectorAll(`circle[data-photo="${photo}"]`)) circle.classList.add("on");
  const x = (photo % photos.columns) * 128, y = Math.floor(photo / photos.columns) * 128;
  picture.style.backgroundPosition = `-${x}px -${y}px`;
  [name.textContent, label.textContent] = photos.texts[photo];
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
