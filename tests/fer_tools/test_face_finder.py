"""Faces in photographs: the finder against its file in ONNX, the crop by hand, `fer predict` on top."""

import io
import json
import os

import numpy as np
import pytest
from asserting import refusal, within
from camera import EXPRESSIONS, bundled, clear, frame, jpeg
from PIL import Image

from fer_lib.data.picture import decode_image, to_face
from fer_lib.files import sha256_of_file
from fer_tools import commands, paths, predict_files
from fer_tools.face_finder import find, network, weights

FINDER = paths.ROOT / "game" / "networks" / "finder.onnx"


def picture(*faces, **options) -> Image.Image:
    """Return a picture of faces as `camera.frame` has it, after its way through JPEG."""
    return Image.open(io.BytesIO(jpeg(frame(*faces, **options))))


@pytest.fixture(scope="module")
def shipped():
    return predict_files.choose()


# ------------------------------------------------------------------------------------------------ network


def test_the_weights_are_those_that_browsers_run():
    pytest.importorskip("onnx")
    taken, held = weights.taken(FINDER), weights.read()
    assert set(taken) == set(held) and len(held) == 74
    for name, value in taken.items():
        assert value.dtype == np.float16 and np.array_equal(value.astype(np.float32), held[name]), name


def test_weights_of_another_network_are_refused(tmp_path):
    pytest.importorskip("onnx")
    assert "not the face finder" in refusal(weights.taken, FINDER.with_name("network.onnx"))


def test_the_network_answers_as_onnxruntime_does():
    """In pixels of 128, and before the sigmoid, whose ends would hide differences."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(FINDER, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (2, 128, 128, 3), np.uint8)
    seen = [picture((clear(i), 200, 320, 240, 10)).resize((128, 128)) for i in range(2)]
    images = np.concatenate([noise, np.stack([np.asarray(one) for one in seen])])
    scores, values = network.answers(images)
    for image, score, value in zip(images, scores, values, strict=True):
        inputs = {"input": (image[np.newaxis] / 127.5 - 1).astype(np.float32)}
        regressors, logits = session.run(["regressors", "classificators"], inputs)
        offsets = np.concatenate([network.anchors(), np.zeros((896, 2)), np.tile(network.anchors(), 6)], 1)
        assert np.abs(128 * (value - offsets) - regressors[0]).max() < 1e-3
        assert np.abs(score - 1 / (1 + np.exp(-logits[0, :, 0]))).max() < 1e-5
    assert scores[2:].max(axis=1).min() > 0.5


# --------------------------------------------------------------------------------------------------- crop


def by_hand(grey: np.ndarray, face: find.Face) -> np.ndarray:
    """Sample a turned square of a picture pixel by pixel, bilinearly, as `game/crop.js` says."""
    n = min(max(round(face.side), 48), 480)
    a = np.deg2rad(face.tilt)
    v, u = (np.mgrid[:n, :n] + 0.5 - n / 2) * face.side / n
    x = np.clip(face.x + u * np.cos(a) - v * np.sin(a) - 0.5, 0, grey.shape[1] - 1)
    y = np.clip(face.y + u * np.sin(a) + v * np.cos(a) - 0.5, 0, grey.shape[0] - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, below = np.minimum(left + 1, grey.shape[1] - 1), np.minimum(top + 1, grey.shape[0] - 1)
    fx, fy = x - left, y - top
    upper = grey[top, left] * (1 - fx) + grey[top, right] * fx
    lower = grey[below, left] * (1 - fx) + grey[below, right] * fx
    return to_face(Image.fromarray((upper * (1 - fy) + lower * fy + 0.5).astype(np.uint8)))[0]


@pytest.mark.parametrize("tilt", [0, 25, -40, 180])
@pytest.mark.parametrize(
    "place", [(120.25, 90.5, 75.0), (150, 20, 160.0), (239.9, 0.1, 30.0), (120, 90, 700.0)]
)
def test_a_face_is_cut_out_as_the_page_does_it(place, tilt):
    """Within the picture and beyond its edge, smaller and larger than the square that it is sampled to."""
    small = np.random.default_rng(1).integers(0, 256, (12, 16), np.uint8)
    grey = np.asarray(Image.fromarray(small).resize((240, 180), Image.Resampling.BICUBIC))
    face = find.Face(*place, float(tilt), 1.0)
    difference = find.crop(Image.fromarray(grey), face).astype(int) - by_hand(grey.astype(float), face)
    assert np.abs(difference).max() <= 1


def test_a_large_face_is_scaled_down_before_it_is_turned():
    grey = Image.fromarray(clear(1)).resize((4000, 4000), Image.Resampling.BICUBIC)
    found = find.crop(grey, find.Face(2000, 2000, 4000, 0.0, 1.0)).astype(int)
    assert np.abs(found - clear(1)).mean() < 4


# --------------------------------------------------------------------------------------------------- find


@pytest.mark.parametrize("tilt", [-25, 0, 25])
def test_faces_are_found_where_they_are(tilt):
    images, _ = bundled()
    chosen = np.random.default_rng(5).choice(len(images), 12, replace=False)
    found = 0
    for i, face in enumerate(images[chosen]):
        size, x, y = 100 + 12 * i, 200 + 20 * i, 160 + 10 * i
        seen = find.faces(picture((face, size, x, y, tilt), wall=i))
        found += (
            bool(seen)
            and np.hypot(seen[0].x - x, seen[0].y - y) < size / 4
            and (abs(seen[0].tilt - tilt) < 20 and 0.7 < seen[0].side / size < 1.3)
        )
    print(f"tilted by {tilt}: {found} of 12 found")
    assert found >= 11


def test_several_faces_are_found_once_each():
    shown = [(clear(1), 180, 170, 200, -20), (clear(2), 150, 430, 150, 18), (clear(0), 110, 480, 380, 5)]
    seen = sorted(find.faces(picture(*shown)), key=lambda face: face.x)
    assert len(seen) == 3
    for face, (_, size, x, y, tilt) in zip(seen, shown, strict=True):
        assert np.hypot(face.x - x, face.y - y) < size / 4 and abs(face.tilt - tilt) < 10


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000), (40, 30)])
def test_pictures_of_odd_shapes_have_no_face_and_do_no_harm(size):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    with within(30):
        assert find.faces(Image.fromarray(noise)) == []


def test_a_wall_has_no_face():
    found = [find.faces(Image.fromarray(frame(wall=i))) for i in range(12)]
    assert sum(map(bool, found)) <= 1


# ------------------------------------------------------------------------------------------------ predict


@pytest.fixture
def photograph(tmp_path):
    """Give a photograph of three faces: happy, surprised, neutral from left to right."""
    path = tmp_path / "three.jpg"
    path.write_bytes(
        jpeg(
            frame((clear(1), 180, 170, 200, -20), (clear(2), 150, 430, 150, 18), (clear(0), 110, 480, 380, 5))
        )
    )
    return str(path)


def test_a_photograph_is_answered_face_by_face(shipped, photograph):
    found, wrong = predict_files.predict_files(*shipped, [photograph])
    assert not wrong and [row["class"] for row in found] == ["happy", "surprise", "neutral"]
    for row, (x, y, tilt) in zip(found, ((170, 200, -20), (430, 150, 18), (480, 380, 5)), strict=True):
        left, top, right, bottom = row["box"]
        assert left < x < right and top < y < bottom and right - left == pytest.approx(bottom - top)
        assert abs(row["tilt"] - tilt) < 10 and 0.5 <= row["score"] <= 1


def test_with_crop_a_picture_is_one_face(shipped, photograph):
    (row,), wrong = predict_files.predict_files(*shipped, [photograph], crop=True)
    face, _ = decode_image(open(photograph, "rb").read(), photograph)
    assert not wrong and set(row) == {"image", "class", "probabilities"}
    assert list(row["probabilities"].values()) == pytest.approx(shipped[0](face[np.newaxis])[0].tolist())


def test_where_there_is_no_face_a_small_picture_is_one_and_a_large_one_is_not(capsys, tmp_path):
    wall = Image.fromarray(frame(wall=3))
    wall.resize((320, 240)).save(tmp_path / "small.png")
    wall.save(tmp_path / "large.png")
    small, large = str(tmp_path / "small.png"), str(tmp_path / "large.png")
    assert commands.main(["predict", "--json", small]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)[0]["box"] is None and "no face was found on it; as it is small" in err
    assert commands.main(["predict", "--json", small, large]) == 2
    out, err = capsys.readouterr()
    assert [row["image"] for row in json.loads(out)] == [small]
    assert f"{large}: no face was found on it; with --crop" in err and len(err.splitlines()) == 2


def test_a_face_of_48_pixels_is_answered_as_ever(capsys, tmp_path, shipped):
    face, path = clear(1), str(tmp_path / "face.png")
    Image.fromarray(face).save(path)
    assert commands.main(["predict", "--json", path]) == 0
    out, err = capsys.readouterr()
    row = shipped[0](face[np.newaxis])[0]
    expected = {
        "image": path,
        "class": "happy",
        "probabilities": dict(zip(EXPRESSIONS, map(float, row), strict=True)),
    }
    assert out == json.dumps([expected], indent=2) + "\n" and not err
    assert commands.main(["predict", path]) == 0
    ranked = "  ".join(f"{EXPRESSIONS[i]} {100 * row[i]:.1f}%" for i in np.argsort(-row))
    assert capsys.readouterr() == (f"{path}  {ranked}\n", "")


def test_what_was_found_is_drawn(capsys, photograph, tmp_path):
    target = tmp_path / "out.png"
    assert commands.main(["predict", photograph, "--draw", str(target)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all(" turned " in line for line in lines)
    before, after = np.asarray(Image.open(photograph), int), np.asarray(Image.open(target), int)
    changed = np.abs(before - after).max(axis=2) > 30
    assert after.shape == before.shape and 0.01 < changed.mean() < 0.15
    for colour in ((0xD9, 0x8C, 0x00), (0x00, 0x72, 0xB2), (0x6E, 0x77, 0x81)):  # those of all figures
        assert (after == colour).all(axis=2).sum() > 100
    digest = sha256_of_file(target)
    assert (
        commands.main(["predict", photograph, "--draw", str(target)]) == 0
        and sha256_of_file(target) == digest
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--draw", "out.jpg"], "is no name of a PNG file"),
        (["--draw", "three.jpg/out.png"], "cannot be written"),
        (["again.jpg", "--draw", "out.png"], "shows one picture, and 2 are given"),
    ],
)
def test_what_cannot_be_drawn_is_refused(capsys, photograph, tmp_path, monkeypatch, more, said):
    monkeypatch.chdir(tmp_path)
    assert commands.main(["predict", photograph, *more]) == 2
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1 and sorted(os.listdir(tmp_path)) == ["three.jpg"]


# ----------------------------------------------------------------------------------------------- measured


def measured(faces, labels, sizes, tilt, predictor):
    """Return the shares of faces found, and of those right after finding and as they are, among the found."""
    rng, near, cut = np.random.default_rng(2), [], []
    for i, face in enumerate(faces):
        size = rng.uniform(*sizes)
        x, y = rng.uniform(0.7 * size, 640 - 0.7 * size), rng.uniform(0.6 * size, 480 - 0.6 * size)
        shown = picture((face, size, x, y, rng.uniform(-tilt, tilt)), wall=i % 50)
        seen = find.faces(shown)
        near.append(bool(seen) and np.hypot(seen[0].x - x, seen[0].y - y) < size / 2)
        cut.append(find.crop(shown.convert("L"), seen[0]) if near[-1] else face)
    right, as_it_is = (predictor(np.stack(some)).argmax(1) == labels for some in (cut, faces))
    return np.mean(near), right[near].mean(), as_it_is[near].mean()


def report(name, found, right, as_it_is):
    print(f"{name}: {found:.1%} found, {right:.1%} right after finding, {as_it_is:.1%} as they are")


@pytest.mark.slow
def test_rendered_faces_in_frames_are_found_and_told(shipped):
    images, labels = bundled()
    chosen = np.random.default_rng(0).choice(len(images), 150, replace=False)
    found, right, as_it_is = measured(images[chosen], labels[chosen], (100, 280), 25, shipped[0])
    report("rendered", found, right, as_it_is)
    assert found >= 0.96 and right >= as_it_is - 0.06  # 98.8 % of 400; two standard errors of a difference


@pytest.mark.slow
def test_photographs_in_frames_are_found_and_told(shipped, fer2013):
    """They stay in memory. FER_FACES=1917 takes all of PublicTest."""
    files = [
        (path, label)
        for label, name in enumerate(EXPRESSIONS)
        for path in sorted((fer2013 / "test" / name).glob("PublicTest_*"))
    ]
    count = min(int(os.environ.get("FER_FACES", "150")), len(files))
    chosen = [files[i] for i in np.random.default_rng(0).choice(len(files), count, replace=False)]
    faces = np.stack([decode_image(path.read_bytes(), str(path))[0] for path, _ in chosen])
    labels = np.array([label for _, label in chosen])
    found, right, as_it_is = measured(faces, labels, (100, 280), 25, shipped[0])
    report("PublicTest", found, right, as_it_is)
    assert found >= 0.97 and right >= as_it_is - 0.05
