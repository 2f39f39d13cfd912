// From a picture to the network's input, number for number as fer_lib.data.picture does it in Python.

export const SIDE = 48; // pixels of a face
const MOST = 480; // pixels of the upright square from which it is scaled down
const BITS = 22; // of the fraction of a weight

/** Return the grey values of RGBA pixels: ITU-R 601 luma, rounded as Pillow does. */
export function greyOf(rgba) {
  const grey = new Uint8Array(rgba.length / 4);
  for (let i = 0, j = 0; i < grey.length; i++, j += 4) {
    grey[i] = (19595 * rgba[j] + 38470 * rgba[j + 1] + 7471 * rgba[j + 2] + 0x8000) >>> 16;
  }
  return grey;
}

/**
 * Cut the square {x, y, side, angle} out of a grey picture, turned upright: centre and side in pixels, angle in
 * degrees clockwise. Beyond its edge the picture goes on as it ends.
 */
export function upright(grey, width, height, { x, y, side, angle }) {
  const n = Math.min(Math.max(Math.round(side), SIDE), MOST), step = side / n, out = new Uint8Array(n * n);
  const cos = step * Math.cos((angle * Math.PI) / 180), sin = step * Math.sin((angle * Math.PI) / 180);
  for (let j = 0, k = 0; j < n; j++) {
    const v = j + 0.5 - n / 2;
    for (let i = 0; i < n; i++, k++) {
      const u = i + 0.5 - n / 2;
      const sx = Math.min(Math.max(x + u * cos - v * sin - 0.5, 0), width - 1);
      const sy = Math.min(Math.max(y + u * sin + v * cos - 0.5, 0), height - 1);
      const left = Math.floor(sx), top = Math.floor(sy), fx = sx - left, fy = sy - top;
      const a = top * width + left, right = left < width - 1 ? 1 : 0, below = top < height - 1 ? width : 0;
      const upper = grey[a] + fx * (grey[a + right] - grey[a]);
      const lower = grey[a + below] + fx * (grey[a + below + right] - grey[a + below]);
      out[k] = upper + fy * (lower - upper) + 0.5;
    }
  }
  return { grey: out, size: n };
}

/** Return, for each of SIDE pixels between two places of a line, its first pixel and their weights. */
function weights(from, to, length) {
  const scale = (to - from) / SIDE, support = Math.max(scale, 1);
  return Array.from({ length: SIDE }, (_, i) => {
    const centre = from + (i + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const last = Math.min(Math.trunc(centre + support + 0.5), length);
    const raw = [];
    for (let j = first; j < last; j++) raw.push(Math.max(1 - Math.abs((j - centre + 0.5) / support), 0));
    const sum = raw.reduce((a, b) => a + b, 0);
    return { first, values: raw.map((value) => Math.round((value / sum) * 2 ** BITS)) };
  });
}

/** Bring a box [left, top, right, bottom] of a grey picture to SIDE x SIDE, weighted by triangles. */
export function toFace(grey, width, height, [left, top, right, bottom]) {
  const half = 2 ** (BITS - 1), across = weights(left, right, width), down = weights(top, bottom, height);
  const narrow = new Uint8Array(SIDE * height), face = new Uint8Array(SIDE * SIDE);
  const firstRow = down[0].first, end = down[SIDE - 1].first + down[SIDE - 1].values.length;
  for (let y = firstRow; y < end; y++) {
    for (let i = 0; i < SIDE; i++) {
      const { first, values } = across[i], at = y * width + first;
      let sum = half;
      for (let k = 0; k < values.length; k++) sum += values[k] * grey[at + k];
      narrow[y * SIDE + i] = Math.min(sum / 2 ** BITS, 255);
    }
  }
  for (let j = 0; j < SIDE; j++) {
    const { first, values } = down[j];
    for (let i = 0; i < SIDE; i++) {
      let sum = half;
      for (let k = 0; k < values.length; k++) sum += values[k] * narrow[(first + k) * SIDE + i];
      face[j * SIDE + i] = Math.min(sum / 2 ** BITS, 255);
    }
  }
  return face;
}

/** Return what a network takes, given a face and its metadata's `input`: bilinear at the centres of pixels. */
export function networkInput(face, { size, black, white }) {
  const out = new Float32Array(size * size), scale = SIDE / size;
  const places = Array.from({ length: size }, (_, i) => {
    const at = (i + 0.5) * scale - 0.5, low = Math.floor(at);
    return { a: Math.max(low, 0), b: Math.min(Math.ceil(at), SIDE - 1), f: at - low };
  });
  for (let j = 0, k = 0; j < size; j++) {
    const { a: top, b: bottom, f: fy } = places[j];
    for (let i = 0; i < size; i++, k++) {
      const { a, b, f } = places[i];
      const upper = face[top * SIDE + a] + f * (face[top * SIDE + b] - face[top * SIDE + a]);
      const lower = face[bottom * SIDE + a] + f * (face[bottom * SIDE + b] - face[bottom * SIDE + a]);
      out[k] = black + ((upper + fy * (lower - upper)) * (white - black)) / 255;
    }
  }
  return out;
}
