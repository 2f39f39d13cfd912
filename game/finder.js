// Finds the player's face in a picture: BlazeFace, where it is likely to be.

export const RULE = {
  score: 0.5, // least of a face
  sure: 0.75, // of one that is taken at once; another waits until all places were looked at
  overlap: 0.3, // from which on two answers are one face
  around: 2, // times the size of a face that is looked at where it was
  scale: 1.19, // side of the square that is cropped, in sides of the finder's box
  shift: 0.074, // of that side, by which its centre lies higher
  away: 0.45, // of the distance of the eyes, by which the nose of a face that looks elsewhere is beside their middle
};
const INPUT = 128, PATIENCE = 3, EVERY = 30; // pixels; frames a face may be lost for; frames between looks for others
const ANCHORS = [[16, 2], [8, 6]].flatMap(([grid, each]) =>
  Array.from({ length: grid * grid * each }, (_, i) => {
    const cell = Math.floor(i / each);
    return [((cell % grid) + 0.5) / grid, (Math.floor(cell / grid) + 0.5) / grid];
  }));

function overlap(a, b) {
  const w = Math.min(a[0] + a[2] / 2, b[0] + b[2] / 2) - Math.max(a[0] - a[2] / 2, b[0] - b[2] / 2);
  const h = Math.min(a[1] + a[3] / 2, b[1] + b[3] / 2) - Math.max(a[1] - a[3] / 2, b[1] - b[3] / 2);
  return w <= 0 || h <= 0 ? 0 : (w * h) / (a[2] * a[3] + b[2] * b[3] - w * h);
}

/** Return the faces among the network's answers, best first, in parts of its input. */
function decoded({ regressors, classificators }) {
  let found = [];
  for (let i = 0; i < ANCHORS.length; i++) {
    const score = 1 / (1 + Math.exp(-classificators[i]));
    if (score < RULE.score) continue;
    const values = Array.from({ length: 16 }, (_, j) =>
      regressors[16 * i + j] / INPUT + (j === 2 || j === 3 ? 0 : ANCHORS[i][j & 1]));
    found.push({ score, values });
  }
  found.sort((a, b) => b.score - a.score);
  const faces = [];
  while (found.length) { // answers for one face are averaged
    const [best] = found, same = (other) => overlap(best.values, other.values) > RULE.overlap;
    const near = found.filter((one) => one === best || same(one)), sum = near.reduce((s, one) => s + one.score, 0);
    const values = best.values.map((_, j) => near.reduce((s, one) => s + one.score * one.values[j], 0) / sum);
    faces.push({ score: best.score, values });
    found = found.filter((one) => !near.includes(one));
  }
  return faces;
}

/** Return the square to crop of a face: centre, side, degrees by which it is tilted clockwise, and whether it looks away. */
export function square({ x, y, size, score, points: [right, left, nose] }) {
  const dx = left[0] - right[0], dy = left[1] - right[1], radians = Math.atan2(dy, dx), side = RULE.scale * size;
  const up = RULE.shift * side, eyes = Math.hypot(dx, dy) || 1;
  const beside = ((nose[0] - (left[0] + right[0]) / 2) * dx + (nose[1] - (left[1] + right[1]) / 2) * dy) / eyes ** 2;
  return {
    x: x + Math.sin(radians) * up, y: y - Math.cos(radians) * up, side, angle: (radians * 180) / Math.PI, score,
    away: Math.abs(beside) > RULE.away,
  };
}

/** Make a finder, given `run(Float32Array)`, which answers for a picture of 128x128. */
export function faceFinder(run) {
  const canvas = new OffscreenCanvas(INPUT, INPUT), context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "medium";
  let track = null, lost = 0, turn = 0, best = null, frames = 0, others = 0;

  /** Return the faces in a square of a picture, best first, in its pixels. */
  async function look(picture, x, y, side) {
    context.fillStyle = "#000";
    context.fillRect(0, 0, INPUT, INPUT);
    const k = INPUT / side;
    context.setTransform(k, 0, 0, k, (side / 2 - x) * k, (side / 2 - y) * k);
    context.drawImage(picture, 0, 0);
    context.resetTransform();
    const { data } = context.getImageData(0, 0, INPUT, INPUT), input = new Float32Array(INPUT * INPUT * 3);
    for (let i = 0, j = 0; j < input.length; i += 4) {
      for (let c = 0; c < 3; c++) input[j++] = data[i + c] / 127.5 - 1;
    }
    return decoded(await run(input)).map(({ score, values }) => {
      const px = values.map((value, j) => (j === 2 || j === 3 ? value : value + ((j & 1 ? y : x) - side / 2) / side) * side);
      const points = [0, 1, 2].map((i) => [px[4 + 2 * i], px[5 + 2 * i]]);
      return { score, x: px[0], y: px[1], size: Math.max(px[2], px[3]), points };
    });
  }

  /** The squares that are looked at one after the other, one a frame, until there is a face. */
  function places(width, height) {
    const tiles = [0.3, 0.7].flatMap((y) => [0.25, 0.5, 0.75].map((x) => [x * width, y * height, 0.6 * Math.max(height, width * 0.75)]));
    const middle = [width / 2, height / 2];
    return [[...middle, Math.max(width, height)], [...middle, Math.min(width, height)], ...tiles];
  }

  async function follow(picture) {
    const faces = await look(picture, track.x, track.y, RULE.around * track.size);
    const near = (face) => Math.hypot(face.x - track.x, face.y - track.y);
    return faces.reduce((a, b) => (a && near(a) <= near(b) ? a : b), null);
  }

  async function search(picture, width, height) {
    const all = places(width, height);
    for (const coarse of await look(picture, ...all[turn])) {
      const [near] = await look(picture, coarse.x, coarse.y, RULE.around * coarse.size);
      if (near && near.score > (best?.score ?? 0)) best = near;
    }
    turn = (turn + 1) % all.length;
    if (!best || (best.score < RULE.sure && turn)) return null; // a doubtful one waits for a better one
    const found = best;
    turn = 0;
    best = null;
    return found;
  }

  /** Return {face, others}: the player's face or null, and how many more there are. */
  return async function find(picture, width, height) {
    const face = track ? await follow(picture) : await search(picture, width, height);
    if (face) { track = face; lost = 0; } else if (track && ++lost > PATIENCE) { track = null; others = 0; }
    if (face && ++frames % EVERY === 0) {
      const seen = await look(picture, ...places(width, height)[(frames / EVERY) % 2]);
      others = seen.filter((other) => Math.hypot(other.x - face.x, other.y - face.y) > face.size / 2 && other.size > face.size / 2).length;
    }
    return { face, others };
  };
}
