"""Arithmetic that gives the same bytes on every machine.

IEEE 754 fixes the result of ``+ - * /``, ``sqrt`` and ``floor`` to the last bit, but not that of ``sin``,
``exp`` or ``pow``: those differ between C libraries and between the vector units numpy chooses at run time.
Images that must come out byte-identical on x86-64 and arm64 are therefore computed from the exact
operations only: the functions here are short polynomial series, sums run in a fixed order, and nothing is
compiled with ``fastmath`` (which would let the compiler fuse or reorder operations).
"""

import math

import numpy as np
from numba import njit

# For helpers of an inner loop that take arrays: as calls they would make it a fifth slower.
inlined = njit(cache=True, inline="always")
PI = 3.141592653589793
_LN2 = 0.6931471805599453


@njit(cache=True)
def sin(x: float) -> float:
    """Sine; absolute error below 1e-9 for |x| < 1e6."""
    turns = math.floor(x / (2 * PI) + 0.5)
    y = x - turns * (2 * PI)  # -pi..pi
    if y > PI / 2:
        y = PI - y
    elif y < -PI / 2:
        y = -PI - y
    z = y * y
    series = -1.0 / 39916800 + z / 6227020800
    for coefficient in (1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6, 1.0):
        series = series * z + coefficient
    return y * series


@njit(cache=True)
def cos(x: float) -> float:
    """Cosine; see `sin`."""
    return sin(x + PI / 2)


@njit(cache=True)
def exp(x: float) -> float:
    """Exponential; relative error below 1e-9, clamped to |x| <= 60."""
    x = min(max(x, -60.0), 60.0)
    halvings = math.floor(x / _LN2 + 0.5)
    y = x - halvings * _LN2  # |y| <= 0.35
    series = 1.0 / 3628800
    for coefficient in (
        1.0 / 362880,
        1.0 / 40320,
        1.0 / 5040,
        1.0 / 720,
        1.0 / 120,
        1.0 / 24,
        1.0 / 6,
        0.5,
        1.0,
        1.0,
    ):
        series = series * y + coefficient
    scale = 1.0
    for _ in range(abs(int(halvings))):
        scale *= 2.0
    return series * scale if halvings >= 0 else series / scale


@njit(cache=True)
def log(x: float) -> float:
    """Natural logarithm for x > 0; relative error below 1e-9."""
    exponent = 0
    while x > 1.4142135623730951:
        x *= 0.5
        exponent += 1
    while x < 0.7071067811865476:
        x *= 2.0
        exponent -= 1
    t = (x - 1.0) / (x + 1.0)
    z = t * t
    series = 1.0 / 15
    for coefficient in (1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3, 1.0):
        series = series * z + coefficient
    return exponent * _LN2 + 2.0 * t * series


@njit(cache=True)
def power(x: float, y: float) -> float:
    """Power x ** y for x >= 0 (0 for x = 0)."""
    return exp(y * log(x)) if x > 0.0 else 0.0


@njit(cache=True)
def smoothstep(x: float, low: float, high: float) -> float:
    """0 below `low`, 1 above `high`, a cubic between."""
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@njit(cache=True)
def bump(x: float, centre: float, width: float) -> float:
    """Bell exp(-((x - centre) / width)^2), as the cheaper 1 / (1 + z + z^2 / 2 + z^3 / 6)."""
    z = (x - centre) / width
    z = z * z
    return 1.0 / (1.0 + z + z * z / 2.0 + z * z * z / 6.0)


@njit(cache=True)
def _lattice(i: int, j: int, k: int, seed: int) -> float:
    """Pseudo-random number in -1..1 at an integer lattice point."""
    h = (i * 374761393 + j * 668265263 + k * 1274126177 + seed * 1103515245) & 0xFFFFFFFF
    h = ((h ^ (h >> 15)) * 739982445) & 0xFFFFFFFF
    return ((h ^ (h >> 13)) & 0xFFFF) / 32767.5 - 1.0


@njit(cache=True)
def noise(x: float, y: float, z: float, seed: int) -> float:
    """Smooth value noise in -1..1 with about one bump a unit."""
    fx, fy, fz = math.floor(x), math.floor(y), math.floor(z)
    i, j, k = int(fx), int(fy), int(fz)
    u, v, w = x - fx, y - fy, z - fz
    u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
    near = _bilinear(i, j, k, u, v, seed)
    return near + (_bilinear(i, j, k + 1, u, v, seed) - near) * w


@njit(cache=True)
def _bilinear(i, j, k, u, v, seed):
    a, b = _lattice(i, j, k, seed), _lattice(i + 1, j, k, seed)
    c, d = _lattice(i, j + 1, k, seed), _lattice(i + 1, j + 1, k, seed)
    a, c = a + (b - a) * u, c + (d - c) * u
    return a + (c - a) * v


@njit(cache=True)
def raised(x: float, squarings: int) -> float:
    """Raise x to the power 2 ** squarings."""
    for _ in range(squarings):
        x *= x
    return x


@njit(cache=True)
def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of a 2-D image, borders repeated; sigma in pixels, at least 0.2."""
    radius = int(3.0 * sigma + 1.0)
    kernel = np.empty(2 * radius + 1)
    total = 0.0
    for k in range(2 * radius + 1):
        d = (k - radius) / sigma
        kernel[k] = exp(-0.5 * d * d)
        total += kernel[k]
    height, width = image.shape
    rows = np.empty((height, width))
    result = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            value = 0.0
            for k in range(2 * radius + 1):
                value += kernel[k] * image[y, min(max(x + k - radius, 0), width - 1)]
            rows[y, x] = value / total
    for y in range(height):
        for x in range(width):
            result[y, x] = 0.0
        for k in range(2 * radius + 1):
            source = min(max(y + k - radius, 0), height - 1)
            weight = kernel[k] / total
            for x in range(width):
                result[y, x] += weight * rows[source, x]
    return result


@njit(cache=True)
def mean_and_deviation(image: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of a 2-D image, summed in row order."""
    total, squares = 0.0, 0.0
    for row in image:
        for value in row:
            total += value
            squares += value * value
    mean = total / image.size
    return mean, math.sqrt(max(squares / image.size - mean * mean, 0.0))


class Random:
    """Random numbers that depend on `key` alone and are the same on every machine.

    Only `random()` is taken from numpy's PCG64: its other distributions go through libm.

    Parameters
    ----------
    key : sequence of int
        Seed material, for instance ``(seed, index)``.
    """

    def __init__(self, *key: int):
        self._random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key))).random

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Uniform in low..high."""
        return low + (high - low) * self._random()

    def log_uniform(self, low: float, high: float) -> float:
        """Uniform on a logarithmic scale in low..high."""
        return exp(self.uniform(log(low), log(high)))

    def normal(self, mean: float = 0.0, deviation: float = 1.0) -> float:
        """Near-normal: the sum of twelve uniform numbers (exactly rounded)."""
        return mean + deviation * (math.fsum(self._random(12)) - 6.0)

    def normals(self, *shape: int) -> np.ndarray:
        """Array of near-normal numbers of unit deviation: sums of four uniform ones."""
        a, b, c, d = self._random((4, *shape))
        return (((a + b) + (c + d)) - 2.0) * 1.7320508075688772

    def triangular(self, low: float, high: float) -> float:
        """Symmetric triangular in low..high: the mean of two uniform numbers."""
        return low + (high - low) * 0.5 * (self._random() + self._random())

    def chance(self, probability: float) -> bool:
        """Return true with the given probability."""
        return self._random() < probability

    def integer(self, bound: int) -> int:
        """Integer in 0..bound-1."""
        return int(self._random() * bound)

    def pick(self, options: dict):
        """Key of `options`, with probability proportional to its value."""
        threshold = self._random() * math.fsum(options.values())
        for option, weight in options.items():
            threshold -= weight
            if threshold < 0:
                return option
        return option

    def seed(self) -> int:
        """Seed for `noise`."""
        return self.integer(1 << 20)
