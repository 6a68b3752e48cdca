// Photos that are searched with: scaled down before they are sent, and kept for this tab.

const QUALITY = 0.92;
const MAX_KEPT = 8;
const PREFIX = "photo:";
const photos = new Map(); // key (the name that the service gives it) → Blob

/** A photo, upright, with at most `side` pixels on its longer side; as it is if it is smaller, or if
    this browser cannot read it. */
export async function scaledDown(file, side) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return file;
  }
  const scale = side / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1) return file;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // what is transparent is white, as for the engines
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const blob = await new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", QUALITY); });
  return blob ?? file;
}

/** An <img> of a photo. */
export function pictureOf(photo) {
  const picture = new Image();
  picture.alt = "The photo that is searched with";
  picture.src = URL.createObjectURL(photo);
  picture.addEventListener("load", () => URL.revokeObjectURL(picture.src), { once: true });
  picture.addEventListener("error", () => picture.replaceWith(unseen()), { once: true });
  return picture;
}

function unseen() {
  const text = document.createElement("span");
  text.className = "none quiet";
  text.textContent = "This browser cannot show the photo";
  return text;
}

/** Keep a photo, in this tab only, so that reloading the page still has it. */
export function keep(key, photo) {
  if (photos.has(key)) return;
  photos.set(key, photo);
  const reader = new FileReader();
  reader.addEventListener("load", () => store(key, reader.result));
  reader.readAsDataURL(photo);
}

function store(key, data) {
  const keys = Object.keys(sessionStorage).filter((name) => name.startsWith(PREFIX));
  for (const old of keys.slice(0, Math.max(0, keys.length + 1 - MAX_KEPT))) {
    sessionStorage.removeItem(old);
  }
  try {
    sessionStorage.setItem(PREFIX + key, data);
  } catch {
    // No room for it: after a reload it has to be chosen again.
  }
}

/** The photo of a key, or null. */
export function kept(key) {
  if (!key) return null;
  if (photos.has(key)) return photos.get(key);
  const data = sessionStorage.getItem(PREFIX + key);
  if (!data) return null;
  const [head, body] = data.split(",");
  const bytes = Uint8Array.from(atob(body), (c) => c.charCodeAt(0));
  const photo = new Blob([bytes], { type: head.slice(5).split(";")[0] });
  photos.set(key, photo);
  return photo;
}
