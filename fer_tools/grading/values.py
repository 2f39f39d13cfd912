"""What stands for the values of a game's code while it is read: an image, a network, what is not known."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

LARGEST = 10**9  # of a number
LONGEST = 1_000  # of a text, or of a list with all that is in it


@dataclass(frozen=True)
class Unknown:
    """A value that is not understood, and where it came from."""

    line: int = 0
    text: str = ""


@dataclass(frozen=True)
class Name:
    """Something of a module by its full name: "numpy.argmax"."""

    full: str

    @property
    def root(self) -> str:
        """The package."""
        return self.full.partition(".")[0]

    @property
    def last(self) -> str:
        """What it is called in its module."""
        return self.full.rpartition(".")[2]


@dataclass(frozen=True)
class Network:
    """A loaded network, the path that it was certainly loaded from, and in which line."""

    path: str | None = None
    line: int = 0


@dataclass(frozen=True)
class Function:
    """A function of the game's own, and the object that it is a method of."""

    node: Any
    owner: Any = None


@dataclass(eq=False)
class Own:
    """The object that plays: its attributes, and the methods of its class."""

    attributes: dict[str, Any] = field(default_factory=dict)
    methods: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """Something that was done to an image.

    Attributes
    ----------
    what : str
        "scale", "resize", "colour" or "crop".
    node : ast.AST
        The expression that did it.
    shape : tuple, or None
        Of the image after it, if it was resized.
    """

    what: str
    node: Any
    shape: tuple[int | None, ...] | None = None


class Probability(float):
    """An output of the network; compared with a constant, it is held against a threshold."""


class NumpyInteger(int):
    """A whole number that is of numpy's type, not int."""


@dataclass(frozen=True)
class Pixels:
    """An image on its way to the network.

    Attributes
    ----------
    factor, offset : float
        What 0..255 has become: value times factor plus offset.
    resize : str, or None
        What brought it to its size: "cv2.resize", "np.resize", "tf.image.resize", "PIL".
    method : str
        How that interpolates: "bilinear", or as the code calls it.
    shape : tuple, or None
        Its sizes, None where one is not known; None altogether if not even their number is.
    pillow : bool
        Whether it is an image of Pillow's, not an array.
    steps : tuple of Step
    """

    factor: float = 1.0
    offset: float = 0.0
    resize: str | None = None
    method: str = ""
    shape: tuple[int | None, ...] | None = (None, None)
    pillow: bool = False
    steps: tuple[Step, ...] = ()

    def scaled(self, factor: float, offset: float, node: Any) -> "Pixels":
        """Return it times a factor, plus an offset."""
        changed = {"factor": self.factor * factor, "offset": self.offset * factor + offset}
        return replace(self, **changed, steps=(*self.steps, Step("scale", node)))

    def shaped(self, shape: Sequence[int | None] | None, *steps: Step, **others: Any) -> "Pixels":
        """Return it with other sizes, after more steps."""
        shape = None if shape is None else tuple(shape)
        return replace(self, shape=shape, steps=(*self.steps, *steps), **others)


def code(node: Any, most: int = 200) -> str:
    """Return the code of a node in one line, shortened if it is long."""
    try:
        text = " ".join(ast.unparse(node).split())
    except (ValueError, RecursionError):  # a number of too many digits
        return "..."
    return text if len(text) <= most else f"{text[:most]} ..."


def bounded(value: Any) -> bool:
    """Return whether a value is no larger than those of games are, with all that is in it."""
    waiting, count = [value], 0
    while waiting:
        each = waiting.pop()
        count += 1
        if isinstance(each, list | tuple | dict) and count + len(each) <= LONGEST:
            waiting += each if not isinstance(each, dict) else each.values()
        elif isinstance(each, str | list | tuple | dict):
            count += len(each)
        elif isinstance(each, Pixels):
            count += LONGEST * (not abs(each.factor) + abs(each.offset) <= LARGEST)
        elif isinstance(each, int | float):
            count += LONGEST * (not abs(each) <= LARGEST)
        if count > LONGEST:
            return False
    return True


def whole(value: Any) -> int | None:
    """Return a size if it is a known whole number; -1 is "what is left"."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if known and value >= 0 else None
