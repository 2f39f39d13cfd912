"""A game against the network that it plays with: why it fails, and which line to change to what."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fer_lib.data.faces import DEFAULT_CLASSES
from fer_lib.files import printable
from fer_tools.grading.findings import Finding, finding
from fer_tools.grading.network import Answers
from fer_tools.grading.player import Game
from fer_tools.grading.values import Pixels, Step, code

LONGEST_LINE = 300  # bytes of a line that is shown whole
REPEATS = "np.resize"  # which repeats the bytes of an image until they fill the new one


def described(game: Game, accuracy: float | None) -> dict[str, Any]:
    """Return what is known of a game, as the diagnosis has it."""
    image = game.image
    shape = None if image is None else _shape(image, 1)
    return {
        "file": game.path.name,
        "found": game.found,
        "order": game.order,
        "scale": game.scale,
        "resize": None if image is None else image.resize or "none",
        "colour": {1: "grey", 3: "rgb"}.get(shape[-1]) if shape else None,
        "constant": game.constant is not None,
        "accuracy": accuracy,
        "sentence": _sentence(game, accuracy),
    }


def _sentence(game: Game, accuracy: float | None) -> str:
    said = []
    if game.image is not None:
        size = "x".join("?" if side is None else str(side) for side in game.image.shape or ())
        how = game.image.resize or "not resized"
        said.append(
            f"it asks the network in line {game.asked.lineno}, with pixels {game.scale} of {size} ({how})"
        )
    if game.order is not None:
        said.append(f"it takes the network's outputs for {', '.join(game.order)}")
    for what, lines in (
        ("compares an output with a constant", game.thresholds),
        ("changes an output", game.adjusted),
    ):
        if lines:
            said.append(f"it {what} (line {', '.join(map(str, sorted(lines)))})")
    if accuracy is not None:
        said.append(f"so it is right on {accuracy:.1%} of the test images")
    said += [f"not understood: {reason}" for reason in game.unclear]
    text = "; ".join(said) or "it does not ask the network"
    return printable(f"{text[0].upper()}{text[1:]}.")


def _shape(image: Pixels, channels: int) -> tuple[int | None, ...] | None:
    """Return the shape that Keras makes of an image: it adds or takes away a last axis of one."""
    shape = image.shape
    if shape is not None and len(shape) == 3 and channels == 1 and shape[-1] != 1:
        return (*shape, 1)
    return shape[:-1] if shape is not None and len(shape) == 5 and shape[-1] == 1 else shape


def accuracy(game: Game, answers: Answers, faces: np.ndarray, labels: np.ndarray) -> float | None:
    """Return on which share of the test images a game is right; None where that cannot be told.

    Each test image goes through what the game does with the image of the camera. Where it looks for a face in
    that, resizes it more than once, or does not take the largest output as it is, nothing is told.
    """
    image = game.image
    plain = image is not None and image.shape is not None and not game.thresholds | game.adjusted
    done = [step.what for step in image.steps] if plain else []
    if game.table is None or not plain or "crop" in done or done.count("resize") > 1:
        return None
    if _wrong_shape(image, answers.sides, answers.channels):
        return None
    ends = image.offset, 255 * image.factor + image.offset
    if image.resize == REPEATS:
        shape = [side for side in image.shape if side not in (1, None)]
        if list(answers.sides) != shape[:2]:
            return None
        outputs = answers.of_test(faces, *ends, repeated=shape)
    elif image.method == "bilinear":
        outputs = answers.of_test(faces, *ends)
    else:
        return None
    numbers = np.array([DEFAULT_CLASSES.index(name) for name in game.order])
    return float((numbers[outputs.argmax(axis=1)] == labels).mean())


def _wrong_shape(image: Pixels, sides: Sequence[int], channels: int) -> str | None:
    """Return what is wrong with the shape of an image for a network: "axes", "colour", "size"."""
    shape = _shape(image, channels)
    if shape is None:
        return None
    if len(shape) != 4:
        return "axes"
    if shape[-1] not in (channels, None):
        return "colour"
    fits = all(side in (None, wanted) for side, wanted in zip(shape[1:3], sides, strict=True))
    return None if fits and image.resize else "size"


def of_game(game: Game, facts: Mapping[str, Any], playing: float | None) -> Iterator[Finding]:
    """Yield why a game fails, with lines and what to write there.

    Parameters
    ----------
    game : Game
    facts : mapping
        The diagnosis of its network.
    playing : float, optional
        On which share of the test images it is right.
    """
    if not game.found:
        yield finding(
            "game-missing",
            f"{game.path.name}: {game.unclear[0]}.",
            "Hand in the file that holds _get_emotion(self, img), as it runs.",
        )
    elif game.constant is not None:
        yield _constant(game)
    else:
        yield from _of_imports(game)
        yield from _of_model(game, facts["file"]["name"])
        if game.image is not None:
            yield from _of_image(game, facts)
        order = []
        if game.table is not None and facts["reading"]["told"]:
            order = list(_of_order(game, facts, playing))
            yield from order
        if game.numpy_integer:
            node = game.returns[0][0]
            yield finding(
                "game-type",
                f"Line {node.lineno} of {game.path.name} returns a number of numpy's type, which the game "
                "refuses as an invalid emotion: it wants an int.",
                "What is to be written for the order of answers mends this, too."
                if order
                else _write(game, node, f"return int({code(node.value)})"),
            )


def _of_imports(game: Game) -> Iterator[Finding]:
    for name, line in sorted(game.undefined.items()):
        yield finding(
            "game-import",
            f"Line {line} of {game.path.name} uses {name}, which is never imported.",
            f"Write at the top: `{_IMPORTS[name]}`.",
        )


_IMPORTS = {
    "np": "import numpy as np",
    "tf": "import tensorflow as tf",
    "cv2": "import cv2",
    "os": "import os",
    "keras": "from tensorflow import keras",
    "plt": "from matplotlib import pyplot as plt",
}


def _write(game: Game, node: ast.AST, text: str) -> str:
    """Return which line is to be replaced by what."""
    end = getattr(node, "end_lineno", node.lineno)
    lines = f"line {node.lineno}" if end == node.lineno else f"lines {node.lineno} to {end}"
    old = game.lines[node.lineno - 1].strip()
    return (
        f"In {lines} of {game.path.name}, write `{text}` for `{old}{' ...' if end != node.lineno else ''}`."
    )


def _constant(game: Game) -> Finding:
    number, file = game.constant, game.path.name
    node = next((each for row in game.returns for each in row if each is not None), None)
    line = f" (line {node.lineno})" if node is not None else ""
    asked = f" It asks the network in line {game.asked.lineno}, but pays no heed." if game.asked else ""
    return finding(
        "game-constant",
        f"_get_emotion of {file} returns {number}, {game.categories[number]}, whatever the camera sees{line}."
        + asked,
        "Let it resize img, give it to model.predict, and return the number of the expression whose output "
        "is the largest.",
    )


def _of_model(game: Game, diagnosed: str) -> Iterator[Finding]:
    path = game.model.path if game.model else None
    if not isinstance(path, str):
        return
    given, line = PurePosixPath(path.replace("\\", "/")), game.model.line
    where = f"Line {line} of {game.path.name} loads `{path}`"
    if given.is_absolute() or path[1:2] == ":" or path.startswith("~"):
        yield finding(
            "game-model",
            f"{where}: a path of one computer, at which nobody else has the file.",
            f'In line {line}, write the path from the folder of the game, such as "results/{given.name}".',
        )
    elif (
        given.name not in ("", diagnosed) and ".." not in given.parts and not _there(game.path.parent / given)
    ):
        yield finding(
            "game-model",
            f"{where}, and there is no such file beside the game.",
            f"Hand in {given.name}, too, or, if {diagnosed} is meant, write its name in line {line}: "
            f'"{given.with_name(diagnosed)}".',
        )


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _of_image(game: Game, facts: Mapping[str, Any]) -> Iterator[Finding]:
    shape, file, asked = facts["input"], game.path.name, game.asked.lineno
    sides, given = (shape["height"], shape["width"]), _size(game.image)
    wrong = _wrong_shape(game.image, sides, shape["channels"])
    resized = next((step for step in reversed(game.image.steps) if step.what == "resize"), None)
    if game.image.resize == REPEATS:
        yield finding(
            "game-resize",
            f"Line {resized.node.lineno} of {file} uses np.resize, which does not scale a picture but "
            "repeats its bytes until the new shape is full: no face is left of it.",
            _scaled_instead(game, resized, sides),
        )
    elif wrong == "size":
        what = f"is brought to {given}" if resized else "is never resized"
        size = f"({sides[1]}, {sides[0]})"
        yield finding(
            "game-size",
            f"The network takes {sides[0]}x{sides[1]}, but what line {asked} of {file} gives it {what}.",
            _scaled_instead(game, resized, sides)
            if resized
            else f"Write as the first line of _get_emotion: `img = cv2.resize(img, {size})`.",
        )
    if wrong in ("axes", "colour"):
        yield finding(
            "game-shape",
            f"The network takes 1x{'x'.join(map(str, shape.values()))}, and line {asked} of {file} gives it "
            f"{given}: Keras refuses that.",
            _reshaped(game, shape["channels"], wrong),
        )
    wanted = facts["reading"]["scale"] if facts["reading"]["told"] else None
    if wanted and game.scale != wanted:
        yield _scale(game, wanted)


def _size(image: Pixels) -> str:
    return "x".join("?" if side is None else str(side) for side in image.shape or ())


def _reshaped(game: Game, channels: int, wrong: str) -> str:
    """Return how to give the network an image of the right number of axes and channels."""
    if not game.asked.args:
        return f"Bring it to that shape before line {game.asked.lineno}."
    fed = game.asked.args[0]
    text, length = code(fed), len(game.image.shape)
    if isinstance(fed, ast.List | ast.Tuple):
        text = f"np.array({text})"
    if wrong == "colour":
        return _replace(game, fed, f"np.repeat({text}, 3, axis=-1)" if channels == 3 else f"{text}[..., :1]")
    last = game.image.shape[-1]
    if length == 3 and last in (1, 3):
        text = f"np.expand_dims({text}, axis=0)"
        return _replace(game, fed, text if last == channels else f"np.repeat({text}, 3, axis=-1)")
    if length == 3:
        return _replace(game, fed, f"np.stack([{text}] * 3, axis=-1)")
    if length == 2:
        text = f"np.stack([{text}] * 3, axis=-1)" if channels == 3 else text
        return _replace(game, fed, f"np.expand_dims({text}, axis=0)")
    return f"Give it one image and no more axes in line {game.asked.lineno}: 1, height, width, {channels}."


def _scaled_instead(game: Game, resized: Step, sides: Sequence[int]) -> str:
    """Return how to scale an image, and give it the shape that it had after it was resized."""
    source = code(resized.node.args[0]) if resized.node.args else "img"
    text = f"cv2.resize({source}, ({sides[1]}, {sides[0]}))"
    shape = resized.shape or ()
    if shape[-1:] == (3,) and len(shape) > 2:
        text = f"np.stack([{text}] * 3, axis=-1)"
    elif len(shape) > 2:
        text = f"{text}[:, :, np.newaxis]"
    return _replace(game, resized.node, f"{text}[np.newaxis]" if len(shape) == 4 else text)


def _scale(game: Game, wanted: str) -> Finding:
    nodes = [step.node for step in game.image.steps if step.what == "scale"]
    given, line, file = game.scale, game.asked.lineno, game.path.name
    if wanted == "0..255" and nodes:
        return finding(
            "game-scale",
            f"Line {nodes[0].lineno} of {file} brings pixels to {given}, but the network expects 0..255, and "
            "so sees nearly the same grey everywhere.",
            _unscaled(game, nodes),
        )
    fed = game.asked.args[0] if game.asked.args else None
    text = f"The network expects pixels {wanted}, and line {line} of {file} gives it {given}."
    if fed is None or nodes:
        return finding("game-scale", text, f"Bring the image to {wanted} before line {line}.")
    write = f"{code(fed)} / 255.0" if wanted == "0..1" else f"{code(fed)} / 127.5 - 1.0"
    return finding("game-scale", text, _replace(game, fed, write))


def _unscaled(game: Game, nodes: Sequence[ast.AST]) -> str:
    """Return how to leave pixels as they are."""
    if len(nodes) > 1 and not any(each is nodes[0] for each in ast.walk(nodes[-1])):
        return " ".join(_unscaled(game, [node]) for node in nodes)
    inner = nodes[0]
    if isinstance(inner, ast.AugAssign):
        return f"Remove {_where(game, inner)}: `{code(inner)}`."
    sides = [inner.left, inner.right] if isinstance(inner, ast.BinOp) else [inner.args[0]]
    kept = next(
        (side for side in sides if any(isinstance(each, ast.Name) for each in ast.walk(side))), sides[0]
    )
    return _replace(game, nodes[-1], code(kept))


def _write(game: Game, node: ast.AST, text: str) -> str:
    """Return which statement is to be replaced by what."""
    return f"In {_where(game, node)}, write `{text}` for `{code(node)}`."


def _replace(game: Game, node: ast.AST, text: str) -> str:
    """Return the line of an expression with another one in its place."""
    if node.end_lineno != node.lineno:
        return _write(game, node, text)
    line = game.lines[node.lineno - 1].encode()  # columns count bytes
    if len(line) > LONGEST_LINE:
        return _write(game, node, text)
    new = (line[: node.col_offset] + text.encode() + line[node.end_col_offset :]).decode(errors="replace")
    new = new.strip()
    name, equals, value = new.partition(" = ")
    if equals and name == value.partition("#")[0].strip():
        return f"Remove {_where(game, node)}: `{line.decode().strip()}`."
    return f"In {_where(game, node)}, write `{new}` for `{line.decode().strip()}`."


def _where(game: Game, node: ast.AST) -> str:
    several = node.end_lineno != node.lineno
    lines = f"lines {node.lineno} to {node.end_lineno}" if several else f"line {node.lineno}"
    return f"{lines} of {game.path.name}"


def _of_order(game: Game, facts: Mapping[str, Any], playing: float | None) -> Iterator[Finding]:
    """Yield that answers are taken for the wrong expressions, and how to put them in order."""
    meant, file = facts["reading"]["order"], game.path.name
    wrong = [
        f"output {j} means {means} and is taken for {taken}"
        for j, (means, taken) in enumerate(zip(meant, game.order, strict=True))
        if means != taken
    ]
    if not wrong:
        return
    right = ""
    if playing is not None and facts["test"]:
        best = facts["test"]["accuracy"]
        right = f" So it is right on {playing:.0%} of the test images, where its network is on {best:.0%}."
    wanted = [game.categories.index(name) for name in meant]
    numbers = ", ".join(f"{name} is {number}" for number, name in enumerate(game.categories))
    why = f"the network's outputs are {', '.join(meant)}, in this order; in the game {numbers}."
    nodes = {id(each): each for row in game.returns for each in row if each is not None}
    if len(nodes) == 1 and len(set(game.table)) == len(wanted):
        (node,) = nodes.values()
        mapping = [wanted[game.table.index(answer)] for answer in range(len(wanted))]
        advice = f"{_write(game, node, f'return {mapping}[{code(node.value)}]')} For {why}"
    else:
        lines = ", ".join(map(str, sorted(each.lineno for each in nodes.values())))
        each = ", ".join(f"{number} when output {j} is the largest" for j, number in enumerate(wanted))
        advice = f"Let it return (line {lines} of {file}) {each}: {why}"
    yield finding(
        "game-order", f"{file} takes answers for the wrong expressions: {'; '.join(wrong)}.{right}", advice
    )
