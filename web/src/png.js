// Samples to a PNG that holds all of them, with what it can hold of the metadata: encodePng(samples, chunks) -> Blob.

const COLOURS = [0, 0, 4, 2, 6]; // by channels
const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let k = 0; k < 8; k++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value >>> 0;
});

function crc(parts) {
  let value = ~0;
  for (const part of parts) for (const byte of part) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return ~value;
}

const ascii = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

function number(value) {
  return new Uint8Array([value >>> 24, value >>> 16, value >>> 8, value]);
}

function chunk(type, ...parts) {
  const name = ascii(type);
  return [number(parts.reduce((sum, part) => sum + part.length, 0)), name, ...parts, number(crc([name, ...parts]))];
}

async function deflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Rows of bytes, 16-bit samples with the higher byte first and spread from their depth. */
function rowsOf({ width, height, channels, data }, depth) {
  if (data instanceof Uint8Array) return { rows: data, pitch: width * channels, step: channels };
  const white = 2 ** depth - 1;
  const rows = new Uint8Array(2 * data.length);
  for (let i = 0; i < data.length; i++) {
    const level = Math.round((data[i] * 65535) / white);
    rows[2 * i] = level >> 8;
    rows[2 * i + 1] = level;
  }
  return { rows, pitch: 2 * width * channels, step: 2 * channels };
}

/** Each row as the difference to what Paeth's predictor says. */
function filtered({ rows, pitch, step }, height) {
  const out = new Uint8Array((pitch + 1) * height);
  for (let y = 0, at = 0, to = 0; y < height; y++) {
    out[to++] = 4;
    for (let x = 0; x < pitch; x++, at++) {
      const left = x < step ? 0 : rows[at - step];
      const up = y ? rows[at - pitch] : 0;
      const corner = y && x >= step ? rows[at - pitch - step] : 0;
      const a = Math.abs(up - corner);
      const b = Math.abs(left - corner);
      const c = Math.abs(left + up - 2 * corner);
      out[to++] = rows[at] - (a <= b && a <= c ? left : b <= c ? up : corner);
    }
  }
  return out;
}

/** samples: as `Decoder.samples` gives them; depth and chunks: as `Decoder.inspect` does. */
export async function encodePng(samples, { depth = 8, chunks = {} } = {}) {
  const { width, height, channels } = samples;
  const parts = [new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10])];
  const kind = new Uint8Array([depth > 8 ? 16 : 8, COLOURS[channels], 0, 0, 0]);
  parts.push(...chunk("IHDR", number(width), number(height), kind));
  if (chunks.iccp) parts.push(...chunk("iCCP", ascii("profile\0\0"), await deflate(chunks.iccp)));
  if (chunks.cicp) parts.push(...chunk("cICP", chunks.cicp));
  if (chunks.exif) {
    const prefixed = String.fromCharCode(...chunks.exif.subarray(0, 6)) === "Exif\0\0";
    parts.push(...chunk("eXIf", chunks.exif.subarray(prefixed ? 6 : 0)));
  }
  if (chunks.xmpd) parts.push(...chunk("iTXt", ascii("XML:com.adobe.xmp\0\0\0\0\0"), chunks.xmpd));
  if (chunks.pngc) parts.push(chunks.pngc);
  parts.push(...chunk("IDAT", await deflate(filtered(rowsOf(samples, depth), height))), ...chunk("IEND"));
  return new Blob(parts, { type: "image/png" });
}
