"""How sure a share of right answers is."""

import math
from statistics import NormalDist

from fer_lib.files import UsageError

LEVEL = 0.95  # of every interval in this module


def wilson_interval(successes: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson score interval of a proportion; stays within 0..1 and holds for small n, unlike p ± 1.96 s.

    It is all p with `|k/n - p| <= z sqrt(p (1 - p) / n)`, k being the successes and z the normal quantile:
    the deviation is taken at p, the share that is asked about, and not at k/n, the one that was seen.

    Source: Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22.

    Raises
    ------
    UsageError
        If `successes` is not within 0..n, n is 0, or `level` not within (0, 1).
    """
    if not 0 <= successes <= n or n == 0 or not 0 < level < 1:
        raise UsageError(f"interval of {successes} of {n} at level {level}: give 0 <= successes <= n, n > 0")
    z, p = normal_quantile(level), successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # Exact at the ends, where rounding would leave 1e-17.
    return (0.0 if successes == 0 else centre - half, 1.0 if successes == n else centre + half)


def normal_quantile(level: float = LEVEL) -> float:
    """Return the two-sided quantile of the normal distribution: 1.96 at 95 %."""
    return NormalDist().inv_cdf((1 + level) / 2)
