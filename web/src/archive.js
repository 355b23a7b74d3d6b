// Shards of archives, which are ZIP files, read by ranges: openArchive(url or Blob) -> { members, read(member) }.
import { AecError } from "./libaec.js";

const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const ENTRY = 0x02014b50;
const END_BYTES = 22 + 65535; // the end record and the longest comment
const MOST = 0xffffffff; // what stands where a number is in the extra field of Zip64

const damaged = (what) => new AecError("format", `no ZIP file that can be read: ${what}`);

/** Bytes of a URL by ranges; of a server that knows no ranges, all at once. */
async function fromUrl(url) {
  const whole = async () => fromBlob(await (await checked(url, {})).blob());
  const head = await checked(url, { method: "HEAD" });
  const size = Number(head.headers.get("Content-Length"));
  if (!size || head.headers.get("Content-Encoding")) return whole();
  let rest; // all of it, once a server has sent that instead of a range
  return {
    size,
    async read(from, to) {
      if (rest) return rest.read(from, to);
      const response = await checked(url, { headers: { Range: `bytes=${from}-${to - 1}` } });
      if (response.status !== 206) {
        rest = fromBlob(await response.blob());
        return rest.read(from, to);
      }
      return new Uint8Array(await response.arrayBuffer());
    },
  };
}

async function checked(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    throw new AecError("network", `${url}: ${error.message}`);
  }
  if (!response.ok) throw new AecError("network", `${url}: ${response.status} ${response.statusText}`.trim());
  return response;
}

function fromBlob(blob) {
  return { size: blob.size, read: async (from, to) => new Uint8Array(await blob.slice(from, to).arrayBuffer()) };
}

const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Where the directory is. */
async function findDirectory(source) {
  const from = Math.max(0, source.size - END_BYTES);
  const tail = await source.read(from, source.size);
  const v = view(tail);
  let at = tail.length - 22;
  while (at >= 0 && (v.getUint32(at, true) !== END || at + 22 + v.getUint16(at + 20, true) !== tail.length)) at--;
  if (at < 0) throw damaged("it has no end record");
  const found = { size: v.getUint32(at + 12, true), offset: v.getUint32(at + 16, true) };
  if (at < 20 || v.getUint32(at - 20, true) !== LOCATOR_64) return found;
  const place = Number(v.getBigUint64(at - 12, true));
  const record = view(await source.read(place, Math.min(place + 56, source.size)));
  if (record.byteLength < 56 || record.getUint32(0, true) !== END_64) throw damaged("its Zip64 record is not there");
  return { size: Number(record.getBigUint64(40, true)), offset: Number(record.getBigUint64(48, true)) };
}

/** Numbers of an entry that did not fit 32 bits, from its extra field. */
function widened(v, from, to, numbers) {
  for (let at = from; at + 4 <= to; at += 4 + v.getUint16(at + 2, true)) {
    if (v.getUint16(at, true) !== 1) continue;
    let next = at + 4;
    for (const name of ["size", "stored", "offset"])
      if (numbers[name] === MOST && next + 8 <= to) {
        numbers[name] = Number(v.getBigUint64(next, true));
        next += 8;
      }
  }
  return numbers;
}

/**
 * members: { name, size, stored, offset, method } of all files, in the order of the directory. read(member): its bytes.
 */
export async function openArchive(where) {
  const source = where instanceof Blob ? fromBlob(where) : await fromUrl(where);
  const { size, offset } = await findDirectory(source);
  if (offset + size > source.size) throw damaged("its directory is beyond its end");
  const directory = await source.read(offset, offset + size);
  const v = view(directory);
  const members = [];
  for (let at = 0; at + 46 <= directory.length && v.getUint32(at, true) === ENTRY; ) {
    const [name, extra, comment] = [28, 30, 32].map((place) => v.getUint16(at + place, true));
    const end = at + 46 + name;
    if (end + extra + comment > directory.length) throw damaged("its directory is cut off");
    const numbers = { size: v.getUint32(at + 24, true), stored: v.getUint32(at + 20, true), offset: v.getUint32(at + 42, true) };
    widened(v, end, end + extra, numbers);
    const text = new TextDecoder().decode(directory.subarray(at + 46, end));
    members.push({ name: text, method: v.getUint16(at + 10, true), ...numbers });
    at = end + extra + comment;
  }
  return {
    members,
    async read(member) {
      const head = view(await source.read(member.offset, Math.min(member.offset + 30, source.size)));
      if (head.byteLength < 30) throw damaged(`${member.name} is beyond its end`);
      const from = member.offset + 30 + head.getUint16(26, true) + head.getUint16(28, true);
      const bytes = await source.read(from, from + member.stored);
      if (member.method === 0) return bytes;
      if (member.method !== 8) throw damaged(`${member.name} is compressed by method ${member.method}`);
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
      return new Uint8Array(await new Response(stream).arrayBuffer());
    },
  };
}
