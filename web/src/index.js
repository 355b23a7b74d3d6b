// Opens .aec pictures in a browser (or Node): decode(bytes) -> ImageData. See README.md.
import { AecError, Libaec } from "./libaec.js";
import { MODELS } from "./models.js";

export { AecError };

const UNIT = 16; // pixels of a latent: bands of a picture begin at multiples of it
const TILE_REACH = 128; // pixels: a band that ends as near to a border of tiles needs those beyond it, too
const LEAST = 1 << 17; // pixels that are worth a worker of their own
const CACHE = "aecodec-models";
const MOST_WORKERS = 4; // each unpacks the model, which takes 50 MB

/** Decodes pictures by workers of its own, which live until `close()`. */
export class Decoder {
  /**
   * models: URL of the folder with the weights; the default is beside this module.
   * workers: how many threads; 0: none, the calling thread decodes.
   */
  constructor({ models = new URL("./models/", import.meta.url), workers } = {}) {
    this.models = new URL(models, import.meta.url);
    const processors = globalThis.navigator?.hardwareConcurrency ?? 2;
    this.limit = typeof Worker === "undefined" ? 0 : (workers ?? Math.min(processors, MOST_WORKERS));
    this.workers = [];
    this.queue = []; // jobs that no worker has yet
    this.weights = new Map(); // promises, by id
  }

  /** What a file says of itself: sizes, quality, model, chunks. Verifies every checksum; needs no model. */
  async inspect(source, options = {}) {
    return (await this.#library()).inspect(await bytesOf(source), options);
  }

  /** The picture, or the part `region` {x, y, width, height} of it, as 8-bit RGBA. */
  async decode(source, options = {}) {
    const { data, width, height } = await this.samples(source, { ...options, channels: 4, depth: 8 });
    const pixels = new Uint8ClampedArray(data.buffer);
    if (typeof ImageData === "undefined") return { data: pixels, width, height, colorSpace: "srgb" };
    return new ImageData(pixels, width, height);
  }

  /** Samples as the file has them: Uint8Array, or Uint16Array of pictures with more than 8 bits, interleaved. */
  async samples(source, options = {}) {
    const { region, channels = 0, depth = 0, salvage = false, pixelLimit = 0, signal, onProgress } = options;
    const data = await bytesOf(source);
    const library = await this.#library();
    const info = library.inspect(data, { salvage, pixelLimit });
    const area = region ?? { x: 0, y: 0, width: info.width, height: info.height };
    const weights = await this.#weights(info.model, onProgress);
    signal?.throwIfAborted();
    const same = { channels, depth, salvage, pixelLimit };
    if (this.limit === 0) {
      if (!library.models.has(info.model)) library.addModel(info.model, weights);
      return library.decode(data, { ...same, box: area });
    }
    const boxes = bands(area, info.tile, this.#free());
    const jobs = boxes.map((box) => this.#job(info.model, weights, { data, options: { ...same, box } }, signal));
    const parts = await Promise.all(jobs);
    if (parts.length === 1) return parts[0];
    const whole = new parts[0].data.constructor(area.width * area.height * parts[0].channels);
    let at = 0;
    for (const part of parts) {
      whole.set(part.data, at);
      at += part.data.length;
    }
    return { ...parts[0], height: area.height, data: whole };
  }

  /** Ends the workers. What they are at fails with an AbortError. */
  close() {
    for (const worker of this.workers) {
      worker.thread.terminate();
      worker.fail(new DOMException("the decoder was closed", "AbortError"));
    }
    for (const job of this.queue) job.reject(new DOMException("the decoder was closed", "AbortError"));
    this.workers = [];
    this.queue = [];
  }

  #module() {
    this.module ??= bytesAt(new URL("./aec.wasm", import.meta.url)).then((data) => WebAssembly.compile(data));
    this.module.catch(() => (this.module = undefined)); // so that a later call tries again
    return this.module;
  }

  #library() {
    this.library ??= this.#module().then((module) => Libaec.load(module));
    this.library.catch(() => (this.library = undefined));
    return this.library;
  }

  #weights(id, onProgress) {
    if (!this.weights.has(id)) {
      const promise = this.#fetchWeights(id, onProgress);
      promise.catch(() => this.weights.delete(id));
      this.weights.set(id, promise);
    }
    return this.weights.get(id);
  }

  /** From the cache or the network; only with the hash that this module knows. */
  async #fetchWeights(id, onProgress) {
    const model = MODELS[id];
    if (!model) throw new AecError("model", `written with model ${id}, which this decoder does not have`);
    const library = await this.#library();
    const url = new URL(model.file, this.models);
    const right = (data) => data.length === model.bytes && library.sha256(data) === model.sha256;
    const cache = await openCache();
    const kept = await cache?.match(url);
    if (kept) {
      const data = new Uint8Array(await kept.arrayBuffer());
      if (right(data)) return data;
      await cache.delete(url);
    }
    const data = await bytesAt(url, (done) => onProgress?.({ model: model.name, done, total: model.bytes }));
    if (!right(data)) throw new AecError("model", `${url}: not the weights of ${model.name}, by their SHA-256`);
    await cache?.put(url, new Response(data, { headers: { "Content-Type": "application/octet-stream" } })).catch(() => {});
    return data;
  }

  /** How many workers are, or could be, without work. */
  #free() {
    const busy = this.workers.filter((worker) => worker.job).length;
    return Math.max(1, this.limit - busy - this.queue.length);
  }

  #job(model, weights, args, signal) {
    return new Promise((resolve, reject) => {
      const job = { model, weights, args, resolve, reject };
      signal?.addEventListener("abort", () => {
        this.queue = this.queue.filter((each) => each !== job); // what a worker is at goes on, unheard
        reject(signal.reason);
      });
      this.queue.push(job);
      this.#next();
    });
  }

  #next() {
    while (this.queue.length) {
      let worker = this.workers.find((each) => !each.job);
      if (!worker && this.workers.length < this.limit) {
        worker = new Thread(this.#module());
        this.workers.push(worker);
      }
      if (!worker) return;
      worker.job = this.queue.shift();
      this.#run(worker, worker.job);
    }
  }

  async #run(worker, job) {
    try {
      job.resolve(await worker.decode(job));
    } catch (error) {
      job.reject(error);
      if (error.code === "memory") this.#discard(worker); // its memory never shrinks
    }
    worker.job = undefined;
    this.#next();
  }

  #discard(worker) {
    worker.thread.terminate();
    this.workers = this.workers.filter((each) => each !== worker);
  }
}

/** A worker, its module and models loaded when they are first needed. */
class Thread {
  constructor(module) {
    this.thread = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.asked = new Map();
    this.count = 0;
    this.models = new Set();
    this.thread.onmessage = ({ data: { id, result, error } }) => {
      const { resolve, reject } = this.asked.get(id);
      this.asked.delete(id);
      if (error) reject(new AecError(error.code, error.message));
      else resolve(result);
    };
    this.thread.onerror = (event) => this.fail(new AecError("memory", event.message || "a worker could not be started"));
    this.started = module.then((compiled) => this.#ask("start", { module: compiled }));
  }

  fail(error) {
    for (const { reject } of this.asked.values()) reject(error);
    this.asked.clear();
  }

  async decode({ model, weights, args }) {
    await this.started;
    if (!this.models.has(model)) {
      await this.#ask("model", { id: model, weights });
      this.models.add(model);
    }
    return this.#ask("decode", args);
  }

  #ask(call, args) {
    return new Promise((resolve, reject) => {
      const id = this.count++;
      this.asked.set(id, { resolve, reject });
      this.thread.postMessage({ id, call, args });
    });
  }
}

/** Divides an area into bands for at most `most` workers. Neighbouring bands both decode the tiles that they share. */
function bands(area, tile, most) {
  const count = Math.max(1, Math.min(most, Math.floor((area.width * area.height) / LEAST), Math.floor(area.height / UNIT)));
  const ends = [];
  for (let i = 1; i < count; i++) {
    let end = Math.round((area.y + (area.height * i) / count) / UNIT) * UNIT;
    const over = tile ? end % tile : UNIT * TILE_REACH;
    if (tile > 2 * TILE_REACH && over < TILE_REACH) end += TILE_REACH - over; // one row of tiles is shared, not two
    else if (tile > 2 * TILE_REACH && tile - over < TILE_REACH) end -= TILE_REACH - (tile - over);
    if (end > (ends.at(-1) ?? area.y) && end < area.y + area.height) ends.push(end);
  }
  const starts = [area.y, ...ends];
  return starts.map((y, i) => ({ x: area.x, y, width: area.width, height: (starts[i + 1] ?? area.y + area.height) - y }));
}

async function bytesOf(source) {
  if (source instanceof Uint8Array) return source;
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  return new Uint8Array(source instanceof ArrayBuffer ? source : await source.arrayBuffer()); // a Blob or Response
}

async function openCache() {
  try {
    return await globalThis.caches?.open(CACHE); // only where the page is secure
  } catch {
    return undefined;
  }
}

/** Fetches a file; progress: is told how many bytes there are so far. */
async function bytesAt(url, progress = () => {}) {
  if (url.protocol === "file:") return new Uint8Array(await (await import("node:fs/promises")).readFile(url));
  let response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new AecError("network", `${url}: ${error.message}`);
  }
  if (!response.ok) throw new AecError("network", `${url}: ${response.status} ${response.statusText}`.trim());
  const parts = [];
  let count = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    progress((count += value.length));
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

let shared;

/** As `Decoder.decode`, by a decoder that all callers share. */
export function decode(source, options) {
  return (shared ??= new Decoder()).decode(source, options);
}

/** As `Decoder.inspect`. */
export function inspect(source, options) {
  return (shared ??= new Decoder()).inspect(source, options);
}
