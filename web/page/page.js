// The page: what was opened (one picture, several, or an archive), the gallery, and the viewer.
import { Decoder } from "./index.js";
import { openArchive } from "./archive.js";
import { encodePng } from "./png.js";
import { oriented } from "./orientation.js";
import { Stage } from "./stage.js";

const $ = (id) => document.getElementById(id);
const decoder = new Decoder();
const stage = new Stage($);
const SHOWN = /\.(jpe?g|png|webp|gif|avif|bmp)$/i; // what browsers decode themselves
const PREVIEW = 320; // pixels

let entries = []; // { name, bytes (how many), read() -> Uint8Array }
let current; // { entry, data, information, pixels }
let showing = 0; // counts pictures that were asked for: an old one that comes late is not shown

function bytesInWords(count) {
  if (count < 1000) return `${count} bytes`;
  return count < 1e6 ? `${(count / 1000).toFixed(1)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

function complain(error) {
  console.error(error);
  $("message").textContent = error.message || String(error);
  $("message").hidden = false;
}

$("message").onclick = () => ($("message").hidden = true);

function show(name) {
  for (const id of ["empty", "gallery", "viewer"]) $(id).hidden = id !== name;
  $("back").hidden = name !== "viewer" || entries.length < 2;
}

const isPicture = ({ name }) => /\.aec$/i.test(name) || SHOWN.test(name);

const hasMagic = (data, magic) => magic.every((byte, i) => data[i] === byte);

/** Entries of a file or URL: itself, or what an archive holds. */
async function entriesOf(name, where, size, read) {
  const first = where instanceof Blob ? new Uint8Array(await where.slice(0, 4).arrayBuffer()) : null;
  if (first ? hasMagic(first, [80, 75]) : /\.zip$/i.test(name)) {
    const archive = await openArchive(where);
    return archive.members
      .filter(isPicture)
      .map((member) => ({ name: member.name, bytes: member.size, read: () => archive.read(member) }));
  }
  return [{ name, bytes: size, read }];
}

async function open(found) {
  $("message").hidden = true;
  entries = found.filter(isPicture);
  if (!entries.length) throw new Error("There is no picture in it: neither .aec nor what this browser shows.");
  if (entries.length === 1) return view(entries[0]);
  gallery();
}

async function openFiles(files) {
  try {
    const lists = await Promise.all(
      Array.from(files, (file) =>
        entriesOf(file.name, file, file.size, async () => new Uint8Array(await file.arrayBuffer())),
      ),
    );
    await open(lists.flat());
  } catch (error) {
    complain(error);
  }
}

async function openUrl(url) {
  try {
    const name = decodeURIComponent(new URL(url, location.href).pathname.split("/").at(-1)) || url;
    await open(
      await entriesOf(name, url, undefined, async () => {
        const response = await fetch(url);
        if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
        return new Uint8Array(await response.arrayBuffer());
      }),
    );
  } catch (error) {
    complain(error);
  }
}

// ---- decoding ----

/** A picture as a canvas, the way it is to be looked at. */
async function decoded(entry, { salvage = false, onProgress } = {}) {
  const data = await entry.read();
  if (SHOWN.test(entry.name)) return { data, canvas: await drawn(new Blob([data])) };
  const information = await decoder.inspect(data, { salvage });
  const pixels = await decoder.decode(data, { salvage, onProgress });
  const canvas = document.createElement("canvas");
  canvas.width = pixels.width;
  canvas.height = pixels.height;
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return { data, information, salvage, canvas: oriented(canvas, information.chunks.exif) };
}

async function drawn(blob) {
  const bitmap = await createImageBitmap(blob); // turned as its EXIF says
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return canvas;
}

// ---- gallery ----

let watcher;

function gallery() {
  const box = $("gallery");
  watcher?.disconnect();
  box.replaceChildren();
  watcher = new IntersectionObserver(
    (seen) => {
      for (const { isIntersecting, target } of seen)
        if (isIntersecting) {
          watcher.unobserve(target);
          preview(target);
        }
    },
    { root: box, rootMargin: "200px" },
  );
  for (const entry of entries) {
    const card = document.createElement("button");
    card.className = "card";
    card.entry = entry;
    const blank = Object.assign(document.createElement("div"), { className: "blank", textContent: "…" });
    const label = Object.assign(document.createElement("span"), { textContent: entry.name.replace(/\.aec$/i, "") });
    label.append(Object.assign(document.createElement("small"), { textContent: bytesInWords(entry.bytes) }));
    card.append(blank, label);
    card.onclick = () => view(entry);
    box.append(card);
    watcher.observe(card);
  }
  show("gallery");
}

async function preview(card) {
  try {
    const { canvas } = await decoded(card.entry);
    const scale = Math.min(1, PREVIEW / Math.min(canvas.width, canvas.height));
    const small = document.createElement("canvas");
    small.width = Math.max(1, Math.round(canvas.width * scale));
    small.height = Math.max(1, Math.round(canvas.height * scale));
    const context = small.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(canvas, 0, 0, small.width, small.height);
    card.firstChild.replaceWith(small);
  } catch (error) {
    card.firstChild.textContent = error.message;
  }
}

// ---- viewer ----

async function view(entry) {
  const number = ++showing;
  const mine = () => number === showing;
  current = undefined;
  stage.clear();
  show("viewer");
  $("facts").replaceChildren();
  $("save").disabled = true;
  stage.say("Decoding …");
  const onProgress = ({ done, total }) =>
    mine() && stage.say(`Fetching the model, once: ${bytesInWords(done)} of ${bytesInWords(total)}`);
  try {
    const begin = performance.now();
    let picture;
    try {
      picture = await decoded(entry, { onProgress });
    } catch (error) {
      if (error.code !== "format") throw error;
      picture = await decoded(entry, { onProgress, salvage: true }).catch(() => Promise.reject(error));
    }
    if (!mine()) return;
    current = { entry, ...picture, milliseconds: performance.now() - begin };
    stage.show(picture.canvas);
    stage.say("");
    $("save").disabled = false;
    tell();
  } catch (error) {
    if (!mine()) return;
    stage.say("");
    show(entries.length > 1 ? "gallery" : "empty");
    complain(new Error(`${entry.name}: ${error.message}`));
  }
}

function tell(more = []) {
  const { entry, data, information, canvas, milliseconds } = current;
  const pixels = canvas.width * canvas.height;
  const facts = [["File", entry.name]];
  facts.push(["Size", `${canvas.width} × ${canvas.height}`]);
  facts.push(["Bytes", `${bytesInWords(data.length)}, ${((8 * data.length) / pixels).toFixed(2)} bpp`]);
  if (information) {
    facts.push(["Quality", String(information.quality)]);
    if (information.depth > 8) facts.push(["Depth", `${information.depth} bits, shown with 8`]);
    facts.push(["Decoded in", `${(milliseconds / 1000).toFixed(2)} s`]);
    for (const damage of information.damages) facts.push(["Damaged", damage, "bad"]);
  }
  facts.push(...more);
  $("facts").replaceChildren(
    ...facts.map(([term, text, kind]) => {
      const row = Object.assign(document.createElement("div"), { className: kind ?? "" });
      row.append(
        Object.assign(document.createElement("dt"), { textContent: term }),
        Object.assign(document.createElement("dd"), { textContent: text }),
      );
      return row;
    }),
  );
}

/** Decibels between two canvases of the same size, over colours. */
function psnr(a, b) {
  const size = [0, 0, a.width, a.height];
  const one = a.getContext("2d").getImageData(...size).data;
  const other = b.getContext("2d").getImageData(...size).data;
  let sum = 0;
  for (let i = 0; i < one.length; i += 4)
    for (let k = i; k < i + 3; k++) sum += (one[k] - other[k]) ** 2;
  return 10 * Math.log10((255 ** 2 * 3 * a.width * a.height) / sum);
}

async function compare(file) {
  try {
    if (!current) return;
    const original = await drawn(file);
    const { width, height } = current.canvas;
    if (original.width !== width || original.height !== height)
      throw new Error(`${file.name} has ${original.width} × ${original.height} pixels, the picture ${width} × ${height}.`);
    stage.compare(original);
    const value = psnr(current.canvas, original);
    tell([
      ["Original", `${bytesInWords(file.size)}, ${(file.size / current.data.length).toFixed(1)} times as large`],
      ["PSNR", Number.isFinite(value) ? `${value.toFixed(2)} dB` : "the same pixels"],
    ]);
  } catch (error) {
    complain(error);
  }
}

async function save() {
  const { entry, data, information, salvage } = current;
  $("save").disabled = true;
  try {
    const samples = information && (await decoder.samples(data, { salvage }));
    const blob = samples ? await encodePng(samples, information) : await toBlob(current.canvas);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = entry.name.split("/").at(-1).replace(/\.[^.]*$/, "") + ".png";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  } catch (error) {
    complain(error);
  }
  $("save").disabled = false;
}

const toBlob = (canvas) => new Promise((resolve) => canvas.toBlob(resolve, "image/png"));

// ---- what people do ----

$("open").onchange = ({ target }) => openFiles(target.files).then(() => (target.value = ""));
$("compare").onchange = ({ target }) => target.files[0] && compare(target.files[0]).then(() => (target.value = ""));
$("uncompare").onclick = () => {
  stage.endComparison();
  tell();
};
$("save").onclick = save;
$("back").onclick = () => {
  showing++;
  show("gallery");
};
$("address").onsubmit = (event) => {
  event.preventDefault();
  location.search = `?url=${encodeURIComponent($("url").value)}`;
};
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("back").hidden) $("back").click();
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  $("veil").hidden = false;
  const own = current && !$("viewer").hidden;
  $("veil").textContent = own ? "Drop an .aec file to open it, its original to compare" : "Drop to open";
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("veil").hidden = true;
});
addEventListener("drop", (event) => {
  event.preventDefault();
  $("veil").hidden = true;
  const files = Array.from(event.dataTransfer.files);
  const original = files.length === 1 && SHOWN.test(files[0].name) && current?.information && !$("viewer").hidden;
  if (original) compare(files[0]);
  else if (files.length) openFiles(files);
});

const asked = new URLSearchParams(location.search).get("url");
if (asked) openUrl(asked);
