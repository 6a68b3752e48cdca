// Ways to give a photo: choose or take one, drop it, paste it, or paste its address.

export function ask(visit) {
  const dropping = document.querySelector("#dropping");
  const { search: page } = document.body.dataset;
  const search = (photo) => visit(page, { photo });
  const searchAt = (address) => {
    const url = new URL(page, location);
    url.searchParams.set("url", address);
    visit(url);
  };
  /** Search with what was dropped or pasted; false if it holds neither a photo nor an address. */
  const take = (data) => {
    const photo = [...data.files].find((file) => file.type.startsWith("image/")) ?? data.files[0];
    const address = (data.getData("text/uri-list") || data.getData("text/plain")).trim().split("\n")[0];
    if (photo) search(photo);
    else if (/^https?:\/\/\S+$/.test(address)) searchAt(address);
    else return false;
    return true;
  };

  addEventListener("change", (event) => {
    const [file] = event.target.files ?? [];
    if (!file) return;
    search(file);
    event.target.form.reset();
  });

  let isOwn = false; // whether what is dragged is a part of this page
  addEventListener("dragstart", () => { isOwn = true; });
  addEventListener("dragend", () => { isOwn = false; });
  addEventListener("dragover", (event) => {
    if (isOwn || isInField(event)) return;
    event.preventDefault();
    dropping.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) dropping.hidden = true;
  });
  addEventListener("drop", (event) => {
    dropping.hidden = true;
    if (isOwn || isInField(event)) return;
    event.preventDefault();
    take(event.dataTransfer);
  });

  addEventListener("paste", (event) => {
    const isText = event.target.closest?.("input") && event.clipboardData.files.length === 0;
    if (!isText && take(event.clipboardData)) event.preventDefault();
  });
}

const isInField = (event) => Boolean(event.target.closest?.("input"));
