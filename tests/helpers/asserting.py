"""What tests ask again and again: is it refused, are these the same faces."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from fer_lib.data.faces import FaceDataset
from fer_lib.files import UsageError


def refusal(action: Callable, *arguments, **options) -> str:
    """Run what must be refused; return the message, which must be one line."""
    with pytest.raises(UsageError) as caught:
        action(*arguments, **options)
    message = str(caught.value)
    assert message and len(message.splitlines()) == 1
    return message


def same(a: FaceDataset, b: FaceDataset) -> bool:
    """Return whether two sets have equal images, labels and classes."""
    return (
        np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels) and a.classes == b.classes
    )


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail what would wait for ever, at a pipe for example."""

    def late(*_: object) -> None:
        pytest.fail(f"no answer after {seconds} s")  # no Exception: whoever catches these cannot go on

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
