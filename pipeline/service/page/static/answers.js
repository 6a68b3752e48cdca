// Asking the service: with patience where it is busy, and always for a page in return.

const MAX_TRIES = 3;
const MAX_PAUSE = 10; // seconds
const LATER = [429, 503, 504];

/** Ask for a page; a photo is sent with it. `busy` is called before each try after the first. */
export async function answered(url, photo, signal, busy) {
  const target = new URL(url);
  let body;
  if (photo) {
    target.searchParams.delete("upload");
    body = new FormData();
    body.set("photo", photo, photo.name ?? "photo");
  }
  for (let tries = 1; ; tries += 1) {
    const headers = { Accept: "text/html", ...(photo && { "X-Photo-At-Hand": "yes" }) };
    const answer = await fetch(target, { method: body ? "POST" : "GET", body, headers, signal });
    if (answer.status !== 503 || tries === MAX_TRIES) return answer;
    busy();
    const seconds = Number(answer.headers.get("Retry-After")) || 1;
    await new Promise((resolve) => { setTimeout(resolve, 1000 * Math.min(seconds, MAX_PAUSE)); });
    signal.throwIfAborted();
  }
}

/** There is no page in an answer, or only one that says to come back later. */
export class Refusal extends Error {}

/** The page of an answer, or a Refusal. */
export async function pageOf(answer) {
  const text = await answer.text();
  if (!answer.headers.get("Content-Type")?.startsWith("text/html")) {
    throw new Refusal(reasonIn(text) ?? `The service answered ${answer.status}.`);
  }
  const page = new DOMParser().parseFromString(text, "text/html");
  if (!LATER.includes(answer.status)) return page;
  const words = [...page.querySelectorAll(".message p:not(:has(*))")].map((p) => p.textContent);
  throw new Refusal(words.join("; "));
}

function reasonIn(text) {
  try {
    const { message, hint } = JSON.parse(text);
    return [message, hint].filter(Boolean).join("; ");
  } catch {
    return null;
  }
}

/** Words for what did not work, with a button to try again. */
export function failure(text) {
  const message = document.querySelector("#unreachable").content.cloneNode(true);
  if (text) message.querySelector("p").textContent = text;
  return message;
}
