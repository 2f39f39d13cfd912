// From a picture to probabilities: find the face, cut it out, ask the network.
import { greyOf, networkInput, toFace, upright } from "./crop.js";
import { faceFinder, square } from "./finder.js";
import { EXPRESSIONS } from "./network.js";

const DARK = 45, SMALL = 0.12; // mean grey value of a face; its square's side, in widths of the picture

/**
 * Make eyes of a finder's `run` and a network. `see(picture, width, height)` returns {face, p, three, brightness,
 * about}: the square of the face or null, probabilities by class, of the three expressions, and what is in the way.
 */
export function eyes(run, network) {
  const find = faceFinder(run), places = EXPRESSIONS.map((name) => network.classes.indexOf(name));
  const canvas = new OffscreenCanvas(1, 1), context = canvas.getContext("2d", { willReadFrequently: true });

  return async function see(picture, width, height) {
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    context.drawImage(picture, 0, 0, width, height); // one picture for all that follows
    const { face: found, others } = await find(canvas, width, height);
    if (!found) return { face: null, p: null, three: null, about: (await darkness()) < DARK ? "dark" : "no_face" };
    const face = square(found);
    const { grey, brightness } = crop(face, width, height);
    const p = await network.predict(networkInput(grey, network.input));
    return { face, p, three: places.map((i) => p[i]), brightness, about: inTheWay(face, brightness, others, width) };
  };

  /** Cut a face out, of the part of the picture in which it is. */
  function crop(face, width, height) {
    const reach = face.side * 0.71 + 2; // half a diagonal, and what is interpolated
    const left = Math.max(Math.floor(face.x - reach), 0), top = Math.max(Math.floor(face.y - reach), 0);
    const w = Math.max(Math.min(Math.ceil(face.x + reach), width) - left, 1);
    const h = Math.max(Math.min(Math.ceil(face.y + reach), height) - top, 1);
    const { data } = context.getImageData(left, top, w, h);
    const turned = upright(greyOf(data), w, h, { ...face, x: face.x - left, y: face.y - top });
    const grey = toFace(turned.grey, turned.size, turned.size, [0, 0, turned.size, turned.size]);
    return { grey, brightness: grey.reduce((a, b) => a + b, 0) / grey.length };
  }

  /** Return how bright the whole picture is. */
  async function darkness() {
    const small = new OffscreenCanvas(16, 16).getContext("2d");
    small.drawImage(canvas, 0, 0, 16, 16);
    return greyOf(small.getImageData(0, 0, 16, 16).data).reduce((a, b) => a + b, 0) / 256;
  }

  function inTheWay(face, brightness, others, width) {
    if (others) return "two_faces";
    if (face.away) return "away";
    if (brightness < DARK) return "dark";
    return face.side < SMALL * width ? "small" : null;
  }
}
