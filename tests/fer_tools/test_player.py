"""Games are read, not run: what they do with an image and an answer, and how they are mended."""

import ast
import copy
import json
import os
import random
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from asserting import refusal, within
from diagnosed import COUNTS, diagnosed, network, templates

from fer_tools.grading import diagnosis, player, playing, terminal
from fer_tools.grading.network import Answers

HEAD = """from config import categories, image_size
import cv2
import numpy as np
import tensorflow as tf
from tensorflow.keras import models


class UserWebcamPlayer:
    def __init__(self):
        self.model = models.load_model("results/network.keras")

    def _process_frame(self, frame):
        frame = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        width, height = frame.shape
        size = min(width, height)
        return frame[:size, :size]

    def _get_row(self):
        emotion = self._get_emotion(img)
        if type(emotion) is not int or emotion not in range(len(categories)):
            return None

    def _get_emotion(self, img) -> int:
"""
GREY = "image = np.expand_dims(cv2.resize(img, (64, 64)), axis=(0, -1))"
ASK = "out = self.model.predict(image, verbose=0)"
HAPPY_FIRST = ["happy", "neutral", "surprise"]


def game(folder: Path, body: str, head: str = HEAD) -> Path:
    path = folder / "game.py"
    path.write_text(head + "".join(f"        {line}\n" for line in body.split("\n")), encoding="utf-8")
    return path


# -- what is read of a game --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "order"),
    [
        ("return int(np.argmax(out))", None),
        ("return int(np.argmax(out[0]))", None),
        ("return int(np.argmax(out, axis=-1)[0])", None),
        ("return int(tf.argmax(out[0]).numpy())", None),
        ("return out[0].tolist().index(max(out[0]))", None),
        ("return [1, 0, 2][int(out.argmax())]", HAPPY_FIRST),
        ("return {0: 1, 1: 0, 2: 2}.get(out.argmax(axis=1)[0], 0)", HAPPY_FIRST),
        ("h, n, s = out[0]\nreturn int(np.argmax([n, h, s]))", HAPPY_FIRST),
        (
            "p = out[0]\nif p[0] > p[1] and p[0] > p[2]:\n    return 1\nreturn 0 if p[1] > p[2] else 2",
            HAPPY_FIRST,
        ),
        (
            "names = ['happy', 'neutral', 'surprise']\nreturn categories.index(names[np.argmax(out)])",
            HAPPY_FIRST,
        ),
        (
            "mapping = {i: categories.index(name) for i, name in enumerate(sorted(categories))}\n"
            "return int(mapping[int(np.argmax(out[0]))])",
            HAPPY_FIRST,
        ),
        (
            "best = max(range(3), key=lambda i: out[0][i])\nreturn (best + 1) % 3",
            ["happy", "surprise", "neutral"],
        ),
        (
            "for i, p in enumerate(out[0]):\n    if p == np.max(out):\n        break\nreturn 2 - i",
            ["surprise", "happy", "neutral"],
        ),
        ("try:\n    i = int(out.argmax())\nexcept Exception:\n    return 0\nreturn i", None),
    ],
)
def test_what_its_answers_are_taken_for(tmp_path, body, order):
    read = player.read(game(tmp_path, f"{GREY}\n{ASK}\n{body}"))
    assert read.order == (order or ["neutral", "happy", "surprise"]) and not read.unclear
    assert read.constant is None and not read.thresholds | read.adjusted


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("x = img[None, :, :, None]", ("0..255", None, (1, None, None, 1))),
        ("x = cv2.resize(img, image_size)[None]", ("0..255", "cv2.resize", (1, None, None))),
        ("x = cv2.resize(img, (64, 32)) / 255.0", ("0..1", "cv2.resize", (32, 64))),
        ("x = img.astype('float32')\nx /= 255", ("0..1", None, (None, None))),
        ("x = (1 / 127.5) * img - 1", ("-1..1", None, (None, None))),
        ("x = (img - 127.5) / 127.5", ("-1..1", None, (None, None))),
        ("x = tf.cast(img, tf.float32) * 2.0", ("0..510", None, (None, None))),
        ("x = np.resize(img, (1, 64, 64, 3))", ("0..255", "np.resize", (1, 64, 64, 3))),
        ("x = np.reshape(img, (1, 64, 64, 1))", ("0..255", None, (1, 64, 64, 1))),
        (
            "x = np.stack([cv2.resize(img, (64, 64))] * 3, axis=-1)\nx = np.array([x])",
            ("0..255", "cv2.resize", (1, 64, 64, 3)),
        ),
        (
            "x = tf.expand_dims(tf.convert_to_tensor(img), -1)\n"
            "x = tf.image.grayscale_to_rgb(tf.image.resize(x, (64, 64)))[tf.newaxis]",
            ("0..255", "tf.image.resize", (1, 64, 64, 3)),
        ),
        (
            "x = cv2.cvtColor(img, cv2.COLOR_GRAY2RGB)\nif len(x.shape) == 2:\n    x = x / 255\n"
            "x = np.expand_dims(x, 0)",
            ("0..255", None, (1, None, None, 3)),
        ),
        (
            "from PIL import Image\nx = np.array(Image.fromarray(img).convert('RGB').resize((64, 64)))",
            ("0..255", "PIL", (64, 64, 3)),
        ),
    ],
)
def test_what_it_gives_the_network(tmp_path, body, expected):
    body = body.replace("tf.newaxis", "None")
    read = player.read(game(tmp_path, f"{body}\nout = self.model.predict(x)\nreturn int(out.argmax())"))
    assert not read.unclear
    assert (read.scale, read.image.resize, read.image.shape) == expected


def test_helpers_attributes_and_conditions_are_followed(tmp_path):
    body = """if self.model is None:
    return 0
if not hasattr(self, "_scale"):
    self._scale = 255.0
image = self._prepared(img, size=(64, 64))
return self._number(self.model(image, training=False).numpy())

def _prepared(self, picture, size=(1, 1)):
    if self.calibrated(picture):
        print("calibrated")
    return np.expand_dims(cv2.resize(picture, size), axis=0) / self._scale

@staticmethod
def _number(out):
    return int(np.argmax(out))"""
    body = body.replace("\n\n", "\n\n    ").replace("    def", "def").replace("    @", "@")
    text = HEAD + "".join(
        f"{'    ' if line[:4] in ('def ', '@sta') else '        '}{line}\n" for line in body.split("\n")
    )
    path = tmp_path / "game.py"
    path.write_text(text)
    read = player.read(path)
    assert not read.unclear and read.order == ["neutral", "happy", "surprise"]
    assert (read.scale, read.image.shape) == ("0..1", (1, 64, 64))


@pytest.mark.parametrize(
    "body",
    [
        "h, w = img.shape\nimage = cv2.resize(img[h // 4 : h, : w // 2], (64, 64))[None]",
        "image = cv2.resize(cv2.resize(img, (100, 100)), (64, 64))[None]",
        "image = cv2.resize(img, (64, 64), interpolation=cv2.INTER_CUBIC)[None]",
    ],
    ids=["a part of it", "resized twice", "another interpolation"],
)
def test_a_game_that_treats_images_otherwise_gets_no_accuracy(network_of_the_games, tmp_path, body):
    path = game(tmp_path, f"{body}\n{ASK}\n{MAP}")
    assert not player.read(path).unclear and watched(path, network_of_the_games) == (None, [])


def test_what_config_says_counts(tmp_path):
    (tmp_path / "config.py").write_text(
        "categories = ['happy', 'neutral', 'surprise']\nimage_size = (150, 140)\n"
    )
    body = f"image = cv2.resize(img, image_size)[None]\n{ASK}\nreturn int(out.argmax())"
    read = player.read(game(tmp_path, body))
    assert read.order == HAPPY_FIRST and read.image.shape == (1, 140, 150)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (f"image = cv2.equalizeHist(img)\n{ASK}\nreturn int(out.argmax())", "line 24: cv2.equalizeHist(img)"),
        (f"{GREY}\n{ASK}\nreturn self.smoothed(out)", "line 26: self.smoothed(out)"),
        (f"{GREY}\n{ASK}\nreturn int((out * [1, 2, 1]).argmax())", "which number it returns"),
        (
            f"{GREY}\nwhile self.waiting():\n    pass\n{ASK}\nreturn 1",
            "line 25: a loop whose end is not known",
        ),
        (f"{GREY}\n{ASK}\nreturn str(out.argmax())", "which number it returns"),
        (f"{GREY}\n{ASK}\nif self.mood:\n    return 0\nreturn int(out.argmax())", "which number it returns"),
        (f"image = img if self.mood else img / 255\n{ASK}\nreturn int(out.argmax())", "not always the same"),
    ],
)
def test_what_is_not_understood_is_said_not_guessed(tmp_path, body, said):
    read = player.read(game(tmp_path, body))
    assert any(said in reason for reason in read.unclear)
    assert read.table is None or read.image is None


@pytest.mark.parametrize(
    ("body", "number"),
    [("return 1", 1), (f"{GREY}\n{ASK}\nreturn 2", 2), ("if img is None:\n    return 0\nreturn 0", 0)],
)
def test_a_constant_answer_is_seen(tmp_path, body, number):
    assert player.read(game(tmp_path, body)).constant == number


def test_thresholds_and_changes_by_hand_are_seen(tmp_path):
    body = (
        f"{GREY}\n{ASK}\nout[0][1] -= 0.2\nif np.max(out[0]) < 0.6:\n    return 0\nreturn int(out.argmax())"
    )
    read = player.read(game(tmp_path, body))
    assert read.adjusted == {26} and read.thresholds == {27} and read.table == (0, 1, 2)


# -- hostile code ------------------------------------------------------------------------------------------

BOMBS = {
    "endless": "while True:\n    pass",
    "recursive": "return self._get_emotion(img)",
    "twice recursive": "return self._get_emotion(img) + self._get_emotion(img)",
    "many ways": "\n".join(f"if self.a{i}:\n    print({i})" for i in range(40)) + "\nreturn 1",
    "power": "return 10 ** 10 ** 10",
    "shift": "return 1 << 10 ** 9",
    "long list": "x = [0] * 10 ** 9\nreturn len(x)",
    "doubling": "x = 'a'\n" + "x = x + x\n" * 60 + "return len(x)",
    "doubling lists": "x = [1]\n" + "x = [x, x]\n" * 60 + "return x",
    "loops in loops": "for a in range(900):\n    for b in range(900):\n        print(a, b)",
    "long range": "for a in range(10 ** 12):\n    pass\nreturn 1",
    "deep": f"return {'-' * 5000}1",
    "nested": f"return {'(' * 90}1{')' * 90}",
    "exec": "import os\nos.system('touch run')\nexec('open(\"run\", \"w\")')\nos.mkdir('folder')\nreturn 1",
    "digits": f"x = 0x{'f' * 100_000}\nreturn x",
    "infinity": "return int((img * 1e300 * 1e300 / 1e-320).max())",
    "lists compared": "x, y = [1], [1]\n" + "x, y = [x, x], [y, y]\n" * 40 + "return x == y",
    "a list in itself": "x = [1]\nx.append(x)\nreturn int(np.argmax([x, x])) + len(str(x == [x]))",
    "wide": f"return [{'self.x,' * 20000}]",
    "comprehension": "return [a for a in range(999) for b in range(999) for c in range(999)]",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_hostile_code_ends_soon_and_is_not_run(tmp_path, monkeypatch, bomb):
    monkeypatch.chdir(tmp_path)
    with within(20):
        read = player.read(game(tmp_path, BOMBS[bomb]))
    assert read.table is None
    assert sorted(os.listdir(tmp_path)) == ["game.py"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"def _get_emotion(self, img):\n    return (\n", "line 2 is no Python"),
        (b"\0\0", "no Python"),
        (b"\xff\xfe\x00d", "no Python"),
        (b"# coding: rot13\nqrs _trg_rzbgvba(): cnff\n", "no Python"),
        (b"# coding: no such\n", "no Python"),
        (b"", "no function _get_emotion"),
        (b"x = 1\n", "no function _get_emotion"),
        (("x = " + "[" * 300 + "]" * 300).encode(), "no Python"),
        (("x = " + "+".join("1" * 3000)).encode(), "no Python"),
    ],
)
def test_what_is_no_game_is_named(tmp_path, content, said):
    (tmp_path / "game.py").write_bytes(content)
    read = player.read(tmp_path / "game.py")
    assert not read.found and said in read.unclear[0] and "\n" not in read.unclear[0]


def test_what_is_no_file_of_code_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "large.py").write_bytes(b" " * 600_000)
    with within(20):
        for name in ("pipe.py", "large.py", "missing.py"):
            assert name in refusal(player.read, tmp_path / name)


def test_damaged_code_never_ends_the_reading(tmp_path):
    rng = random.Random(0)
    whole = game(
        tmp_path, f"{GREY}\nimage = image / 255.0\n{ASK}\nreturn [1, 0, 2][int(np.argmax(out[0]))]"
    ).read_text()
    pieces = re.findall(r"\w+|\s+|[^\w\s]", whole)
    understood = 0
    for _ in range(100):
        damaged = pieces.copy()
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(damaged))
            damaged[at : at + rng.randrange(2)] = [rng.choice(pieces)] * rng.randrange(3)
        (tmp_path / "game.py").write_text("".join(damaged))
        understood += player.read(tmp_path / "game.py").table is not None
    assert 0 < understood < 100


class Altered(ast.NodeTransformer):
    """Puts other expressions of a game in the place of some of its own."""

    def __init__(self, rng: random.Random, others: list[ast.expr]) -> None:
        self.rng, self.others = rng, others

    def visit(self, node: ast.AST) -> ast.AST:
        node = self.generic_visit(node)
        value = isinstance(node, ast.expr) and isinstance(getattr(node, "ctx", ast.Load()), ast.Load)
        return copy.deepcopy(self.rng.choice(self.others)) if value and self.rng.random() < 0.03 else node


ODD = "1e308 1e-320 None [] {} [[1,[2]],3] img[::2] [img]*3 img*img img/0 1/img lambda:x self max([]) (1.5,)"


def test_altered_code_is_read_and_judged(tmp_path, network_of_the_games):
    rng = random.Random(0)
    trees = [ast.parse(game(tmp_path, body).read_text()) for body, _ in FAILING.values()]
    others = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.expr)]
    others += 9 * [ast.parse(text, mode="eval").body for text in ODD.split()]
    judged = 0
    for _ in range(60):
        altered = Altered(rng, others).visit(copy.deepcopy(rng.choice(trees)))
        (tmp_path / "game.py").write_text(ast.unparse(ast.fix_missing_locations(altered)))
        read = player.read(tmp_path / "game.py")
        said = list(playing.of_game(read, network_of_the_games.facts, None))
        json.dumps([playing.described(read, None), said], allow_nan=False)
        judged += bool(said)
    assert 20 < judged


# -- games that fail are mended from what is said of them --------------------------------------------------


@pytest.fixture(scope="module")
def network_of_the_games(make_face_folder, tmp_path_factory) -> types.SimpleNamespace:
    """Give a network that takes 64x64 grey, its outputs happy, neutral, surprise, and its diagnosis."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("games")
    data = make_face_folder(folder / "set", COUNTS)
    model = network(templates(data), (1, 0, 2), side=64)
    faces = diagnosis.images(str(data))
    facts = diagnosed(model, folder / "network.keras", faces)
    answers = Answers(model, memory=10**6)
    ask = tf.function(lambda x: model(x, training=False))
    path = folder / "network.keras"
    return types.SimpleNamespace(path=path, ask=ask, faces=faces, facts=facts, answers=answers)


def watched(path: Path, ours: types.SimpleNamespace) -> tuple[float | None, list[dict]]:
    """Return on which share of the test images a game is right, as it is read, and what is said of it."""
    read, test = player.read(path), ours.faces.test
    share = playing.accuracy(read, ours.answers, test.images, test.labels)
    return share, list(playing.of_game(read, ours.facts, share))


def played(path: Path, ask, images: np.ndarray, monkeypatch) -> list[int]:
    """Return what a game of ours answers, in fact: it is run, with stand-ins for OpenCV and its own files."""
    import tensorflow as tf

    cv2 = types.SimpleNamespace(
        resize=lambda img, size: tf.image.resize(img[..., None], size[::-1]).numpy()[..., 0],
    )
    config = types.SimpleNamespace(categories=["neutral", "happy", "surprise"], image_size=(64, 64))
    loaded = types.SimpleNamespace(predict=lambda x, verbose=0: ask(tf.constant(x, tf.float32)).numpy())
    keras = types.SimpleNamespace(models=types.SimpleNamespace(load_model=lambda _: loaded))
    for name, module in (("cv2", cv2), ("config", config), ("tensorflow.keras", keras)):
        monkeypatch.setitem(sys.modules, name, module)
    space: dict = {}
    exec(compile(path.read_text(), str(path), "exec"), space)
    ours = space["UserWebcamPlayer"]()
    return [ours._get_emotion(image) for image in images]


def mended(path: Path, findings: list[dict]) -> None:
    """Do what is said, line by line, without thinking."""
    lines = path.read_text().split("\n")
    for each in findings:
        changes = re.findall(r"In line (\d+) of game\.py, write `(.+?)` for `(.+?)`\.", each["advice"])
        changes += [
            (n, "", old) for n, old in re.findall(r"Remove line (\d+) of game\.py: `(.+?)`\.", each["advice"])
        ]
        assert changes, each
        for number, new, old in changes:
            line = lines[int(number) - 1]
            assert line.strip() == old or line.split() == old.split()
            lines[int(number) - 1] = line[: len(line) - len(line.lstrip())] + new
    path.write_text("\n".join(lines))


MAP = "return [1, 0, 2][int(np.argmax(out))]"
FAILING = {
    "order": (f"{GREY}\n{ASK}\nreturn int(np.argmax(out[0]))", ["game-order"]),
    "order and type": (f"{GREY}\n{ASK}\nreturn np.argmax(out[0])", ["game-order", "game-type"]),
    "type": (f"{GREY}\n{ASK}\nreturn np.int64([1, 0, 2][int(out.argmax())])", ["game-type"]),
    "wrong mapping": (
        f"{GREY}\n{ASK}\nmapping = {{0: 2, 1: 1, 2: 0}}\nreturn mapping[int(out.argmax())]",
        ["game-order"],
    ),
    "double scaling": (f"{GREY}\nimage = image.astype('float32') / 255.0\n{ASK}\n{MAP}", ["game-scale"]),
    "double scaling by two": (f"{GREY}\nimage = image / 255\n{ASK}\n{MAP}", ["game-scale"]),
    "resize": (f"image = np.resize(img, (1, 64, 64, 1))\n{ASK}\n{MAP}", ["game-resize"]),
    "resize, then axes": (
        f"image = np.resize(img, (64, 64))\nimage = image[None, :, :, None]\n{ASK}\n{MAP}",
        ["game-resize"],
    ),
    "size": (f"image = cv2.resize(img, (150, 150))[None]\n{ASK}\n{MAP}", ["game-size"]),
    "axes": (f"image = cv2.resize(img, (64, 64))\n{ASK}\n{MAP}", ["game-shape"]),
    "colour": (
        f"image = np.stack([cv2.resize(img, (64, 64))] * 3, axis=-1)[None]\n{ASK}\n{MAP}",
        ["game-shape"],
    ),
    "all": (
        f"image = np.resize(img, (1, 64, 64, 1))\nimage = image / 255.0\n{ASK}\nreturn int(np.argmax(out))",
        ["game-resize", "game-scale", "game-order"],
    ),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_failing_game_is_mended_from_what_is_said(network_of_the_games, tmp_path, monkeypatch, case):
    ours = network_of_the_games
    test, best = ours.faces.test, ours.facts["test"]["accuracy"]
    body, expected = FAILING[case]
    path = game(tmp_path, body)
    share, findings = watched(path, ours)
    codes = [each["code"] for each in findings]
    assert codes == expected
    if codes in (["game-size"], ["game-shape"]):  # Keras refuses what it gives the network
        assert share is None
    else:
        right = np.mean(played(path, ours.ask, test.images, monkeypatch) == test.labels)
        assert share == pytest.approx(right, abs=1e-9)
        assert right < best - 0.2 or codes == ["game-type"]
    mended(path, [each for each in findings if "mends this, too" not in each["advice"]])
    answers = played(path, ours.ask, test.images, monkeypatch)
    assert np.mean(answers == test.labels) == pytest.approx(best, abs=1e-9)
    assert all(type(answer) is int for answer in answers)
    assert watched(path, ours) == (pytest.approx(best, abs=1e-9), [])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_and_columns_are_those_of_python(network_of_the_games, tmp_path, encoding, end):
    line = "image = image / 255.0  # é \x0c of öäü"
    path = game(tmp_path, f"é = 'öä\x0cü'; {GREY}\n{line}\n{ASK}\n{MAP}")
    text = f"# -*- coding: {encoding.removesuffix('-sig')} -*-\n" + path.read_text(encoding="utf-8")
    path.write_bytes(text.replace("\n", end).encode(encoding))
    (found,) = watched(path, network_of_the_games)[1]
    assert "Remove line 26 of game.py: `image = image / 255.0" in found["advice"] and "öäü" in found["advice"]
    path.write_bytes(
        text.replace("image / 255.0", "{'é': image / 255}['é']").replace("\n", end).encode(encoding)
    )
    (found,) = watched(path, network_of_the_games)[1]
    assert "In line 26 of game.py, write `image = {'é': image}['é']" in found["advice"]


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("results/network.keras", "results/other.keras", "game-model", '"results/network.keras"'),
        ("results/network.keras", "/home/me/network.keras", "game-model", "results/network.keras"),
        ("results/network.keras", "C:/work/network.keras", "game-model", "results/network.keras"),
        ("import cv2\n", "", "game-import", "import cv2"),
    ],
)
def test_what_else_keeps_a_game_from_working(network_of_the_games, tmp_path, old, new, code, said):
    path = game(tmp_path, f"{GREY}\n{ASK}\n{MAP}", HEAD.replace(old, new))
    _, findings = watched(path, network_of_the_games)
    assert [each["code"] for each in findings] == [code] and said in findings[0]["advice"]


def test_a_model_that_lies_beside_the_game_is_as_it_should_be(network_of_the_games, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "other.keras").touch()
    path = game(tmp_path, f"{GREY}\n{ASK}\n{MAP}", HEAD.replace("network.keras", "other.keras"))
    assert watched(path, network_of_the_games)[1] == []


def test_a_game_is_part_of_the_diagnosis(network_of_the_games, tmp_path):
    ours = network_of_the_games
    body, expected = FAILING["all"]
    for text, codes in ((body, expected), ("return 1", ["game-constant"]), ("", ["game-missing"])):
        read = player.read(game(tmp_path, text, HEAD if text else "x = 1\n"))
        found = diagnosis.diagnose(ours.path, ours.faces, 150_000, read)
        assert [each["code"] for each in found["findings"]] == codes and found["state"] == "findings"
        assert found["test"] == ours.facts["test"]
        seen = found["cost"]["images_seen"] - ours.facts["cost"]["images_seen"]
        assert seen == (len(ours.faces.test) if text == body else 0)
        keys = "file found order scale resize colour constant accuracy sentence"
        assert set(found["game"]) == set(keys.split()) and found["game"]["found"] == bool(text)
        assert (found["game"]["accuracy"] is not None) == (text == body)
        page = "\n".join(terminal.page(found))
        assert page.index(found["findings"][0]["text"][:40]) < page.index("parameters")
