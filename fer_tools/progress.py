"""How far something long is: one line, in place on a terminal and in a notebook, and one per news elsewhere."""

import os
import shutil
import sys
import time
from collections import deque
from types import TracebackType
from typing import Any

FILE = "FER_PROGRESS"  # names a file to which a kernel writes its lines; `fer run` prints them
BAR = 30  # characters


class Progress:
    """Steps done of so many, the time left, and the line that says so.

    Parameters
    ----------
    total : int
        How many steps there are.
    """

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self._ends = deque([time.monotonic()], maxlen=6)  # of the last steps
        self._news: Any = None
        self._handle = None
        if "ipykernel" in sys.modules:
            from IPython.display import display

            self._handle = display(_Text("waiting for the first step"), display_id=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._in_place and self._news is not None:
            print(flush=True)

    @property
    def _in_place(self) -> bool:
        return self._handle is None and sys.stdout.isatty()

    def step(self) -> None:
        """Count a step as done."""
        self.done += 1
        self._ends.append(time.monotonic())

    @property
    def left(self) -> str:
        """The time left by the last five steps, ", 3:20 left"; empty before the first and after the last."""
        if not self.done or self.done >= self.total:
            return ""
        each = (self._ends[-1] - self._ends[0]) / (len(self._ends) - 1)
        left = round(max(each * (self.total - self.done) - (time.monotonic() - self._ends[-1]), 0))
        return f", {left // 60}:{left % 60:02} left"

    def show(self, line: str, news: Any = None) -> None:
        """Show the line; where it cannot be renewed, only if `news` (the line, if not given) is other."""
        news = line if news is None else news
        changed, self._news = news != self._news, news
        if file := os.environ.get(FILE) if changed else None:
            with open(file, "a", encoding="utf-8") as handle:
                handle.write(f"{line}\n")
        if self._handle is not None:
            bar = "█" * round(BAR * self.done / self.total)
            self._handle.update(_Text(f"{bar:░<{BAR}}  {line}"))
        elif self._in_place:
            print(f"\r\033[K{line[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
        elif changed:
            print(line, flush=True)


class EpochProgress(Progress):
    """Show training epoch by epoch; an object to call after each."""

    def __call__(self, history: list[dict[str, float]], seconds: float) -> None:
        """Take the history so far and the seconds of its last epoch."""
        self.step()
        self.done = len(history)  # training may have gone on from an earlier epoch
        row, digits = history[-1], len(str(self.total))
        measured = "  ".join(
            f"{name} {row[name]:.3f}" for name in ("loss", "accuracy", "val_loss", "val_accuracy")
        )
        self.show(f"epoch {self.done:>{digits}}/{self.total}  {measured}  {seconds:.1f} s{self.left}")


class _Text:
    """What a notebook shows as it is."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text
