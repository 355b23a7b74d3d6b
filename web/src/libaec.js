// libaec as WebAssembly (native/aec.h), in terms of JavaScript. One instance, for one thread.

const CODES = ["", "format", "model", "limit", "memory", "argument", "family"];
const ERROR_BYTES = 244; // aec_error: status, message
const OPTION_WORDS = 7; // aec_options

/** What went wrong: `code` is "format", "model", "limit", "memory", "argument", "family" or "network". */
export class AecError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "AecError";
    this.code = code;
  }
}

export class Libaec {
  static async load(module) {
    return new Libaec((await WebAssembly.instantiate(module, {})).exports);
  }

  constructor(exports) {
    this.c = exports;
    this.models = new Map(); // by id, hexadecimal
    this.error = this.room(ERROR_BYTES);
    this.out = this.room(8);
  }

  room(bytes) {
    const at = this.c.malloc(bytes);
    if (!at) throw new AecError("memory", `no memory for ${bytes} bytes`);
    return at >>> 0;
  }

  bytes(at, count) {
    return new Uint8Array(this.c.memory.buffer, at, count);
  }

  words(at, count) {
    return new Uint32Array(this.c.memory.buffer, at, count);
  }

  /** Calls `use` with the address of a copy of some bytes. */
  with(data, use) {
    const at = this.room(data.length || 1);
    try {
      this.bytes(at, data.length).set(data);
      return use(at);
    } finally {
      this.c.free(at);
    }
  }

  check(status) {
    if (!status) return;
    const message = this.text(this.error + 4);
    throw new AecError(CODES[status] ?? "format", message);
  }

  text(at) {
    const all = new Uint8Array(this.c.memory.buffer, at);
    return new TextDecoder().decode(all.slice(0, all.indexOf(0)));
  }

  sha256(data) {
    return this.with(data, (at) => {
      const digest = this.room(32);
      this.c.aec__sha256(at, data.length, digest);
      const hex = Array.from(this.bytes(digest, 32), (byte) => byte.toString(16).padStart(2, "0")).join("");
      this.c.free(digest);
      return hex;
    });
  }

  /** Unpacks the weights that files call by this id. The caller has verified them. */
  addModel(id, weights) {
    this.with(weights, (at) => {
      const name = this.room(4);
      this.bytes(name, 4).set(id.match(/../g).map((byte) => parseInt(byte, 16)));
      const status = this.c.aec_model_open(at, weights.length, name, this.out, this.error);
      this.c.free(name);
      this.check(status);
      this.models.set(id, this.words(this.out, 1)[0]);
    });
  }

  /** Calls `use` with a file that was taken apart and verified. */
  withFile(data, { salvage = false, pixelLimit = 0 }, use) {
    return this.with(data, (at) => {
      const open = salvage ? this.c.aec_file_salvage : this.c.aec_file_open;
      this.check(open(at, data.length, BigInt(pixelLimit), this.out, this.error));
      const file = this.words(this.out, 1)[0];
      try {
        return use(file);
      } finally {
        this.c.aec_file_close(file);
      }
    });
  }

  info(file) {
    const at = this.c.aec_file_info(file);
    const [width, height, channels, quality, tile, tiles, depth, chunks, damages] = this.words(at, 9);
    const model = Array.from(this.bytes(at + 36, 4), (byte) => byte.toString(16).padStart(2, "0")).join("");
    return { width, height, channels, quality: quality / 100, tile, tiles, depth, model, chunks, damages };
  }

  /** What a file says of itself; no model is needed. */
  inspect(data, options = {}) {
    return this.withFile(data, options, (file) => {
      const info = this.info(file);
      const chunks = {};
      for (let i = 0; i < info.chunks; i++) {
        const content = this.c.aec_file_chunk(file, i, this.out, this.error);
        chunks[this.text(this.out)] = this.bytes(content, this.words(this.error, 1)[0]).slice();
      }
      const damages = [];
      for (let i = 0; i < info.damages; i++) damages.push(this.text(this.c.aec_file_damage(file, i)));
      return { ...info, chunks, damages };
    });
  }

  /** Samples of a box (all of the picture: none), `channels` and `depth` as of aec_options. */
  decode(data, { box, channels = 0, depth = 0, ...options } = {}) {
    return this.withFile(data, options, (file) => {
      const info = this.info(file);
      const model = this.models.get(info.model);
      if (model === undefined) throw new AecError("model", `written with model ${info.model}, which is not loaded`);
      const { x, y, width, height } = box ?? { x: 0, y: 0, width: info.width, height: info.height };
      const count = channels || info.channels;
      const wide = (depth || info.depth) > 8;
      const pitch = width * count * (wide ? 2 : 1);
      const settings = this.room(4 * OPTION_WORDS);
      this.words(settings, OPTION_WORDS).set([x, y, width, height, channels, depth, 1]);
      let pixels = 0;
      try {
        pixels = this.room(pitch * height);
        this.check(this.c.aec_decode(file, model, settings, pixels, pitch, this.error));
        const samples = this.bytes(pixels, pitch * height).slice();
        return { width, height, channels: count, data: wide ? new Uint16Array(samples.buffer) : samples };
      } finally {
        this.c.free(settings);
        this.c.free(pixels);
      }
    });
  }
}
