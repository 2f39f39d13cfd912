"""What a game does with an image and with the network's answer, read from its code; nothing of it is run."""

import ast
import io
import re
import tokenize
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fer_lib.data.faces import DEFAULT_CLASSES
from fer_lib.files import UsageError, printable, read_regular
from fer_tools.grading import walk
from fer_tools.grading.values import Network, NumpyInteger, Pixels, Unknown
from fer_tools.model_files.pixels import SCALES

LARGEST_CODE = 500_000  # bytes
DEEPEST = 100  # of the syntax tree
FUNCTIONS = ("_get_emotion", "get_emotion")
CONSTANTS = ("categories", "image_size")  # of config.py


@dataclass
class Game:
    """What was read of a game.

    Attributes
    ----------
    path : Path
    lines : list of str
        Its code.
    found : bool
        Whether it has a function _get_emotion.
    unclear : list of str
        What is not understood, in words.
    table : tuple of int, or None
        What it answers when an output of the network is the largest: numbers of its expressions.
    image : Pixels, or None
        What it gives the network.
    asked : ast.Call, or None
        Where it asks the network.
    returns : list of ast.Return
        Where it answers, for each output.
    constant : int, or None
        What it answers whatever it sees.
    model : Network, or None
    numpy_integer : bool
        Whether its answer is of numpy's type, which its caller refuses.
    thresholds, adjusted : sets of int
        Lines in which an output is compared with a constant, or changed.
    undefined : dict
        Modules that are used and not imported, with lines.
    categories : list of str
        Its expressions, in order.
    """

    path: Path
    lines: list[str] = field(default_factory=list)
    found: bool = False
    unclear: list[str] = field(default_factory=list)
    table: tuple[int, ...] | None = None
    image: Pixels | None = None
    asked: ast.Call | None = None
    returns: list[Any] = field(default_factory=list)
    constant: int | None = None
    model: Network | None = None
    numpy_integer: bool = False
    thresholds: set[int] = field(default_factory=set)
    adjusted: set[int] = field(default_factory=set)
    undefined: dict[str, int] = field(default_factory=dict)
    categories: list[str] = field(default_factory=lambda: list(DEFAULT_CLASSES))

    @property
    def order(self) -> list[str] | None:
        """What it takes each output of the network for, by name."""
        return None if self.table is None else [self.categories[answer] for answer in self.table]

    @property
    def scale(self) -> str | None:
        """The pixels that it gives the network, of `SCALES`, or in words."""
        if self.image is None:
            return None
        black, white = self.image.offset, 255 * self.image.factor + self.image.offset
        for name, ends in SCALES.items():
            if np.allclose((black, white), ends, rtol=0.02, atol=0.01):
                return name
        return f"{black:.3g}..{white:.3g}"


def read(path: Path) -> Game:
    """Read a game.

    Returns
    -------
    Game
        What it says of itself where its code is no Python, or has no _get_emotion, stands in `unclear`.

    Raises
    ------
    UsageError
        If the file cannot be read.
    """
    game = Game(path)
    content = read_regular(path, LARGEST_CODE, follow=True)
    try:
        tree = _parsed(content)
    except SyntaxError as error:
        game.unclear.append(f"line {error.lineno or '?'} is no Python ({printable(error.msg)})")
        return game
    except (ValueError, LookupError, RecursionError, MemoryError) as error:
        game.unclear.append(f"it is no Python ({type(error).__name__})")
        return game
    game.lines = _lines(content)
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    name = next((name for name in FUNCTIONS if name in functions), None)
    if name is None:
        game.unclear.append("it has no function _get_emotion")
        return game
    game.found = True
    known = _constants(path.parent / "config.py")
    categories = known.get("config.categories")
    if isinstance(categories, list) and sorted(map(str, categories)) == sorted(DEFAULT_CLASSES):
        game.categories = categories
    known |= {"config.categories": game.categories}
    try:
        _walk_through(game, tree, name, known)
    except walk.Stuck as stuck:
        where = f"line {stuck.line}: " if stuck.line else ""
        game.unclear.append(f"{where}{stuck.reason}")
    return game


def _parsed(content: bytes) -> ast.Module:
    with warnings.catch_warnings(action="ignore"):  # Python's advice to whoever wrote it
        tree = ast.parse(content)
    waiting: list[tuple[ast.AST, int]] = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > DEEPEST:
            raise RecursionError
        waiting += [(child, depth + 1) for child in ast.iter_child_nodes(node)]
    return tree


def _lines(content: bytes) -> list[str]:
    """Return lines of code as Python counts them."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    return re.split(r"\r\n|\r|\n", content.decode(encoding, errors="replace"))


def _constants(path: Path) -> dict[str, Any]:
    """Return constants of the game's config.py, by their full names."""
    found: dict[str, Any] = {}
    try:
        body = _parsed(read_regular(path, LARGEST_CODE)).body
    except (UsageError, SyntaxError, ValueError, LookupError, RecursionError, MemoryError):
        return found
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                value = ast.literal_eval(node.value)
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                continue
            if node.targets[0].id in CONSTANTS:
                found[f"config.{node.targets[0].id}"] = value
    return found


def _walk_through(game: Game, tree: ast.Module, name: str, known: dict[str, Any]) -> None:
    """Let the network answer each of its outputs in turn, and fill in what the game makes of it."""
    answers, images, asked = [], [], []
    image = _given(tree, known)
    for j in range(len(DEFAULT_CLASSES)):
        outputs = [float(i == j) for i in range(len(DEFAULT_CLASSES))]
        ways = [way for way in walk.ways(tree, name, image, outputs, known) if not way.raised]
        for way in ways:
            game.thresholds |= set(way.thresholds)
            game.adjusted |= set(way.adjusted)
            game.undefined |= way.undefined
        asking = [way for way in ways if way.fed] or ways
        if not asking:
            raise walk.Stuck("it ends with an error on all ways")
        answers.append([way.answer for way in asking])
        game.returns.append([way.returned for way in asking])
        images += [way.fed[-1][1] for way in asking if way.fed]
        asked += [way.fed[-1] for way in asking if way.fed]
    checked = any(
        isinstance(node, ast.Compare) and ast.unparse(node).startswith("type(") for node in ast.walk(tree)
    )
    game.numpy_integer = checked and any(isinstance(each, NumpyInteger) for row in answers for each in row)
    if asked:
        networks = {each[0] for each in asked if isinstance(each[0], Network)}
        game.model, game.asked = networks.pop() if len(networks) == 1 else None, asked[0][2]
        _take_image(game, images)
    _take_answers(game, answers)


def _given(tree: ast.Module, known: dict[str, Any]) -> Pixels:
    """Return the image that _get_emotion is given: what _process_frame makes of a picture of the camera."""
    camera = Pixels(shape=(None, None, 3))
    try:
        ways = walk.ways(tree, "_process_frame", camera, [1.0, 0.0, 0.0], known)
    except walk.Stuck:
        return Pixels()
    images = {way.answer for way in ways if isinstance(way.answer, Pixels)}
    plain = {Pixels(image.factor, image.offset, image.resize, image.method, image.shape) for image in images}
    return plain.pop() if len(plain) == 1 else Pixels()


def _take_image(game: Game, images: list[Any]) -> None:
    unclear = [image for image in images if isinstance(image, Unknown)]
    if unclear:
        game.unclear.append(f"what it gives the network (line {unclear[0].line}: {unclear[0].text})")
    elif len({replace(each, steps=tuple(s for s in each.steps if s.what != "crop")) for each in images}) > 1:
        game.unclear.append("what it gives the network, which is not always the same")
    else:
        game.image = max(images, key=lambda image: len(image.steps))  # the one that is cropped, if one is


def _take_answers(game: Game, answers: list[list[Any]]) -> None:
    different = [set(map(_answer, row)) for row in answers]
    if any(len(row) != 1 or None in row for row in different):
        unknown = next((each for row in answers for each in row if isinstance(each, Unknown)), None)
        where = f" (line {unknown.line}: {unknown.text})" if unknown else ""
        game.unclear.append(f"which number it returns{where}")
        return
    table = tuple(row.pop() for row in different)
    if len(set(table)) == 1:
        game.constant = table[0]
    if game.asked is not None:
        game.table = table


def _answer(value: Any) -> int | None:
    fine = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(DEFAULT_CLASSES)
    return int(value) if fine else None
