"""The page's eyes and those of `fer predict`: the same faces in the same pictures, cropped alike."""

import base64
import io

import numpy as np
from camera import bundled, frame, jpeg
from PIL import Image

from fer_tools.face_finder import find

LOOK = """(async () => {
  const { Engine, fetched } = await import(new URL("network.js", location.href));
  const { greyOf, toFace, upright } = await import(new URL("crop.js", location.href));
  if (!globalThis.finderOfTest) {
    const engine = new Engine(await fetched("runtime/ort.wasm.gzip"));
    await engine.start();
    await engine.load("finder", await fetched("networks/finder.onnx"));
    globalThis.finderOfTest = (input) => engine.run("finder", "input", input, [1, 128, 128, 3]);
  }
  const look = m.faceFinder(globalThis.finderOfTest);
  const bytes = Uint8Array.from(atob(given), (c) => c.charCodeAt(0));
  const picture = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
  const canvas = new OffscreenCanvas(640, 480), context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  let found = null;
  for (let i = 0; i < 9 && !found?.face; i++) found = await look(canvas, 640, 480);
  if (!found.face) return null;
  const square = m.square(found.face), grey = greyOf(context.getImageData(0, 0, 640, 480).data);
  const turned = upright(grey, 640, 480, square), n = turned.size;
  return { ...square, face: Array.from(toFace(turned.grey, n, n, [0, 0, n, n])) };
})()"""


def test_the_page_and_python_find_the_same_faces_and_crop_them_alike(page):
    """The one looks at one place a picture and goes on until it is sure, the other looks at all of them."""
    images, _ = bundled()
    rng = np.random.default_rng(11)
    apart, crops, both = [], [], 0
    for i, face in enumerate(images[rng.choice(len(images), 24, replace=False)]):
        size, x, y = rng.uniform([110, 200, 170], [260, 440, 310])
        content = jpeg(frame((face, size, x, y, rng.uniform(-25, 25)), wall=i))
        theirs = page.module("finder.js", f"await {LOOK}", base64.b64encode(content).decode())
        picture = Image.open(io.BytesIO(content))
        ours = find.faces(picture)
        assert bool(ours) == bool(theirs)
        if not ours:
            continue
        both += 1
        place = find.Face(
            **{name: theirs[name] for name in ("x", "y", "side", "score")}, tilt=theirs["angle"]
        )
        crops.append(
            np.abs(find.crop(picture.convert("L"), place).ravel().astype(int) - theirs["face"]).max()
        )
        gap = np.hypot(ours[0].x - place.x, ours[0].y - place.y), abs(ours[0].side - place.side)
        apart.append([*(np.array(gap) / place.side), abs(ours[0].tilt - place.tilt)])
    print(f"{both} of 24 found; centre, side (shares of it) and tilt (degrees) apart, median and most:")
    print(
        np.median(apart, axis=0).round(3),
        np.max(apart, axis=0).round(3),
        "crops to",
        max(crops),
        "grey levels",
    )
    assert both >= 22 and max(crops) <= 1
    assert (np.median(apart, axis=0) <= (0.02, 0.03, 2)).all() and (
        np.max(apart, axis=0) <= (0.15, 0.25, 15)
    ).all()
