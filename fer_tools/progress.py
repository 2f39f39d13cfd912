"""How far something long is: one line in place on a terminal or in a notebook, else one per piece of news."""

import os
import shutil
import sys
import time
from collections import deque
from typing import Any

FILE = "FER_PROGRESS"  # names a file to which a kernel writes its lines; `fer run` prints them
BAR = 30  # characters


class Progress:
    """Steps done out of a total, the time left, and the line that shows both.

    Parameters
    ----------
    total : int
        How many steps there are.
    of_last : int, optional
        Of how many steps, the last ones, the time left is reckoned; all, if not given.

    Attributes
    ----------
    done : int
        How many steps are done; to be set where some were done before.
    """

    def __init__(self, total: int, of_last: int | None = None) -> None:
        self.total, self.done = total, 0
        self._ends = deque([time.monotonic()], maxlen=of_last and of_last + 1)
        self._news: Any = None
        self._handle = None
        kernel = sys.modules.get("ipykernel.kernelapp")
        if kernel and kernel.IPKernelApp.initialized():
            from IPython.display import Pretty, display

            self._handle = display(Pretty("waiting for the first step"), display_id=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
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
        """The time left, ", 3:20 left"; empty before the first step and after the last."""
        steps = len(self._ends) - 1
        if not steps or self.done >= self.total:
            return ""
        each, since = (self._ends[-1] - self._ends[0]) / steps, time.monotonic() - self._ends[-1]
        left = round(max(each * (self.total - self.done) - since, 0))
        return f", {left // 60}:{left % 60:02} left"

    def show(self, line: str, news: Any = None) -> None:
        """Show a line; where it cannot be replaced by the next, only if `news` differs from the last.

        Parameters
        ----------
        line : str
        news : optional
            What the line is about; the line itself, if not given.
        """
        news = line if news is None else news
        changed, self._news = news != self._news, news
        if changed and (file := os.environ.get(FILE)):
            with open(file, "a", encoding="utf-8") as handle:
                handle.write(f"{line}\n")
        if self._handle is not None:
            from IPython.display import Pretty

            bar = "█" * round(BAR * self.done / self.total)
            self._handle.update(Pretty(f"{bar:░<{BAR}}  {line}"))
        elif self._in_place:
            print(f"\r\033[K{line[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
        elif changed:
            print(line, flush=True)


class EpochProgress(Progress):
    """Show training epoch by epoch; an object to call after each.

    In a notebook that somebody has open, the curves grow, too. Their last picture stays there.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__(epochs, of_last=5)  # the first epoch compiles, and says nothing about the rest
        self._curves: Any = None
        if self._handle is not None and FILE not in os.environ:
            from IPython.display import Pretty, display

            self._curves = display(Pretty("loss and accuracy: after the first epoch"), display_id=True)

    def __call__(self, history: list[dict[str, float]], seconds: float) -> None:
        """Show the last row of the history so far, and the seconds that its epoch took."""
        self.step()
        self.done = len(history)  # training may have gone on from an earlier epoch
        row, digits = history[-1], len(str(self.total))
        measured = "  ".join(
            f"{name} {row[name]:.3f}" for name in ("loss", "accuracy", "val_loss", "val_accuracy")
        )
        self.show(f"epoch {self.done:>{digits}}/{self.total}  {measured}  {seconds:.1f} s{self.left}")
        if self._curves is not None:
            from fer_lib.figures.training import so_far

            self._curves.update(so_far(history, self.total))
