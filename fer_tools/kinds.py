"""Kinds of parameters: each checks a value, and reads one from text as it is typed on a command line."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fer_lib.data.faces import check_classes
from fer_lib.files import UsageError


class NotAllowed(ValueError):
    """A value that a parameter may not have; says what is expected."""


@dataclass(frozen=True)
class Number:
    """A number from `low` to `high`; `why` says what it is."""

    low: float
    high: float
    why: str
    whole: bool = False
    odd: bool = False
    optional: bool = False  # None is allowed

    @property
    def noun(self) -> str:
        """What a value has to be."""
        return "a whole number" if self.whole else "a number"

    def check(self, value: Any) -> float | None:
        """Return the value, which is a finite number in range, or None where that is allowed."""
        if value is None and self.optional:
            return None
        right = isinstance(value, int if self.whole else (int, float)) and not isinstance(value, bool)
        if not right or (isinstance(value, float) and not math.isfinite(value)):
            raise NotAllowed(self.noun)
        if not self.low <= value <= self.high or (self.odd and value % 2 == 0):
            raise NotAllowed(f"{self.low} to {self.high} ({self.why})")
        return value if self.whole else float(value)

    def parse(self, text: str) -> float | None:
        """Read a number; `null` and `none` are None."""
        if self.optional and text.lower() in ("null", "none"):
            return None
        try:
            return int(text.replace("_", "")) if self.whole else float(text)
        except ValueError:
            raise NotAllowed(self.noun) from None


@dataclass(frozen=True)
class Text:
    """One line of text: one of `choices`, or what `pattern` accepts (`what` says in words what that is)."""

    choices: Callable[[], list[str]] | None = None
    pattern: Callable[[str], Any] | None = None
    what: str = ""

    def check(self, value: Any) -> str:
        """Return the value, which is a text without line breaks and null characters."""
        if not isinstance(value, str) or "\0" in value or "\n" in value:
            raise NotAllowed("one line of text")
        if self.pattern and not self.pattern(value):
            raise NotAllowed(self.what)
        if self.choices and value not in self.choices():
            raise NotAllowed(f"one of {', '.join(self.choices())}")
        return value

    def parse(self, text: str) -> str:
        """Take the text as it is."""
        return text


@dataclass(frozen=True)
class Classes:
    """Two or more different names of classes; whether the data have them is seen when these are opened."""

    optional: bool = False  # none at all are allowed

    def check(self, value: Any) -> tuple[str, ...]:
        """Return the names as a tuple."""
        if not isinstance(value, list | tuple):
            raise NotAllowed("a list of names of classes")
        if self.optional and not value:
            return ()
        try:
            return check_classes(value)
        except UsageError as error:
            raise NotAllowed(str(error).removeprefix("classes: expected ")) from None

    def parse(self, text: str) -> list[str]:
        """Read names separated by commas."""
        return [name.strip() for name in text.split(",")] if text or not self.optional else []
