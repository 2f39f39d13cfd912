"""Whether two networks differ by more than chance, on the same images."""

from dataclasses import dataclass

import numpy as np

from fer_lib.files import UsageError


@dataclass(frozen=True)
class McNemar:
    """Paired comparison of A and B on the same images.

    Attributes
    ----------
    only_a, only_b : images that A (B) alone gets right.
    p_value : exact, two-sided.
    difference : accuracy of A minus accuracy of B.
    verdict : the result in words.
    """

    only_a: int
    only_b: int
    p_value: float
    difference: float
    verdict: str


def mcnemar(
    correct_a: np.ndarray, correct_b: np.ndarray, names: tuple[str, str] = ("A", "B"), alpha: float = 0.05
) -> McNemar:
    """Test whether two networks differ on the same images by more than chance: McNemar, exact.

    Only images on which exactly one is right say anything; without a difference each of these is A's or
    B's with probability one half, so the p-value is that of a two-sided binomial test.

    Parameters
    ----------
    correct_a, correct_b : (n,) bool, image by image.

    Source: McNemar (1947), Psychometrika 12; Dietterich (1998), Neural Computation 10.

    Raises
    ------
    UsageError
        If the two are not the same, non-zero number of images.
    """
    a, b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise UsageError(f"comparison: {a.size} and {b.size} images; test both on the same images")
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    n = only_a + only_b
    ways, term = 0, 1
    for i in range(min(only_a, only_b) + 1):  # integers of any size: exact
        ways += term
        term = term * (n - i) // (i + 1)
    p_value = min(1.0, 2 * ways / 2**n)
    difference = (only_a - only_b) / a.size
    better, worse = names if difference >= 0 else names[::-1]
    facts = (
        f"{names[0]} alone is right on {only_a} of {a.size:,} images, {names[1]} alone on {only_b} "
        f"(exact McNemar test, p {'< 0.001' if p_value < 0.001 else f'= {p_value:.3f}'})"
    )
    if p_value < alpha:
        verdict = (
            f"{better} is better than {worse} by {100 * abs(difference):.1f} percentage points: {facts}."
        )
    else:
        verdict = f"No difference between {names[0]} and {names[1]} is shown: {facts}."
    return McNemar(only_a, only_b, p_value, difference, verdict)
