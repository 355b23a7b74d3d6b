// Turns a picture as the orientation in its EXIF says.

/** Orientation of EXIF (from its TIFF header or "Exif\0\0" on), 1 to 8; 1 if there is none. */
export function orientationOf(exif) {
  if (!exif) return 1;
  const from = String.fromCharCode(...exif.subarray(0, 4)) === "Exif" ? 6 : 0;
  const v = new DataView(exif.buffer, exif.byteOffset + from, exif.byteLength - from);
  try {
    const little = v.getUint16(0) === 0x4949;
    const directory = v.getUint32(4, little);
    for (let i = 0; i < v.getUint16(directory, little); i++) {
      const at = directory + 2 + 12 * i;
      if (v.getUint16(at, little) !== 0x0112) continue;
      const value = v.getUint16(at + 8, little);
      return value >= 1 && value <= 8 ? value : 1;
    }
  } catch {
    // EXIF is handed on as it is, and may be damaged in itself
  }
  return 1;
}

// Matrices of canvases, of width w and height h before.
const TURNS = [
  (w, h) => [1, 0, 0, 1, 0, 0],
  (w, h) => [-1, 0, 0, 1, w, 0],
  (w, h) => [-1, 0, 0, -1, w, h],
  (w, h) => [1, 0, 0, -1, 0, h],
  (w, h) => [0, 1, 1, 0, 0, 0],
  (w, h) => [0, 1, -1, 0, h, 0],
  (w, h) => [0, -1, -1, 0, h, w],
  (w, h) => [0, -1, 1, 0, 0, w],
];

export function oriented(canvas, exif) {
  const orientation = orientationOf(exif);
  if (orientation === 1) return canvas;
  const { width, height } = canvas;
  const turned = document.createElement("canvas");
  [turned.width, turned.height] = orientation > 4 ? [height, width] : [width, height];
  const context = turned.getContext("2d");
  context.setTransform(...TURNS[orientation - 1](width, height));
  context.drawImage(canvas, 0, 0);
  return turned;
}
