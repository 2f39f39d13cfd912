"""From radiance to the grey values a web photograph of 48x48 pixels has.

Targets are the statistics of the photographs of the FER2013 training part (measured, see data/README.md):
mean and deviation of the middle of the image, how often blacks and whites clip, and how fast the spectrum
falls off. The published images are *not* histogram-equalised.
"""

import math

import numpy as np
from numba import njit

from faces.maths import Random, blur, cos, exp, mean_and_deviation, noise, power, sin


@njit(cache=True)
def _clouds(size, level, tilt, angle, coarse, fine, frequency, seed):
    """Backdrop with a gradient and cloudy structure."""
    result = np.empty((size, size))
    dx, dy = cos(angle), sin(angle)
    for j in range(size):
        for i in range(size):
            x, y = i / size - 0.5, j / size - 0.5
            value = level + tilt * (dx * x + dy * y)
            value += coarse * noise(frequency * x, frequency * y, 0.0, seed)
            value += fine * noise(4 * frequency * x, 4 * frequency * y, 7.0, seed)
            result[j, i] = value
    return result


@njit(cache=True)
def _shape(image, kind, x0, y0, width, height, level):
    """Rectangle (0), ellipse (1) or slanted bar (2) of one grey."""
    size = len(image)
    for j in range(size):
        for i in range(size):
            u, v = (i / size - x0) / width, (j / size - y0) / height
            if kind == 0:
                within = abs(u) < 1 and abs(v) < 1
            elif kind == 1:
                within = u * u + v * v < 1
            else:
                within = abs(u - v) < 0.3
            if within:
                image[j, i] = level


def background(random: Random, size: int) -> np.ndarray:
    """Backdrop (size, size) in display grey 0..1: a plain wall, a gradient, or a blurred room."""
    kind = random.pick({"white": 0.17, "black": 0.13, "plain": 0.3, "busy": 0.4})
    level = {
        "white": random.uniform(0.85, 1.05),
        "black": random.uniform(-0.03, 0.12),
        "plain": random.uniform(0.1, 0.9),
        "busy": random.uniform(0.15, 0.85),
    }[kind]
    rough = random.uniform(0.1, 0.4) if kind == "busy" else random.uniform(0.0, 0.06)
    tilt = random.uniform(-0.6, 0.6) if kind in ("plain", "busy") and random.chance(0.5) else 0.0
    image = _clouds(
        size, level, tilt, random.uniform(0, 6.28), rough, 0.4 * rough, random.uniform(1.5, 5), random.seed()
    )
    if kind == "busy":
        for _ in range(random.integer(7)):
            _shape(
                image,
                random.integer(3),
                random.uniform(-0.1, 1.1),
                random.uniform(-0.1, 1.1),
                random.uniform(0.03, 0.5),
                random.uniform(0.03, 0.5),
                random.uniform(),
            )
        image = blur(image, random.log_uniform(1.0, 9.0))
    return np.clip(image, 0.0, 1.0)


@njit(cache=True)
def _quantile(values, share):
    """Value below which `share` of the values lie."""
    ordered = np.sort(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


@njit(cache=True)
def _develop(radiance, covered, behind, gain, exponent):
    """Expose, apply the camera's tone curve with a soft shoulder, and put the backdrop in."""
    result = np.empty(radiance.shape)
    for j in range(len(radiance)):
        for i in range(len(radiance)):
            if covered[j, i]:
                x = radiance[j, i] * gain
                x = power(x, exponent)
                if x > 0.8:
                    x = 0.8 + (x - 0.8) / (1.0 + 2.5 * (x - 0.8))
                result[j, i] = x
            else:
                result[j, i] = behind[j, i]
    return result


@njit(cache=True)
def _shrink(image, factor):
    """Mean of blocks of factor x factor pixels."""
    size = len(image) // factor
    result = np.zeros((size, size))
    for j in range(size):
        for i in range(size):
            for b in range(factor):
                for a in range(factor):
                    result[j, i] += image[j * factor + b, i * factor + a]
            result[j, i] /= factor * factor
    return result


_QUANTA = np.array(  # of the JPEG standard, table K.1
    [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
     14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
     49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99]
).reshape(8, 8)  # fmt: skip


@njit(cache=True)
def _cosines():
    """Basis (8, 8) of the discrete cosine transform: frequency by place."""
    basis = np.empty((8, 8))
    for u in range(8):
        for x in range(8):
            basis[u, x] = cos((2 * x + 1) * u * 3.141592653589793 / 16) * (
                math.sqrt(0.125) if u == 0 else 0.5
            )
    return basis


@njit(cache=True)
def _product(a, b, start, result):
    """Write a @ b + start, of 8x8 matrices, to `result`; summed in order, beginning with `start`."""
    for i in range(8):
        for j in range(8):
            total = start
            for k in range(8):
                total += a[i, k] * b[k, j]
            result[i, j] = total


@njit(cache=True)
def _round(coefficients, scale):
    """Round coefficients to multiples of the scaled quanta."""
    for u in range(8):
        for v in range(8):
            step = min(max((_QUANTA[u, v] * scale + 50) // 100, 1), 255)
            coefficients[u, v] = math.floor(coefficients[u, v] / step + 0.5) * step


@njit(cache=True)
def jpeg(image, quality):
    """Quantise grey values 0..255 as JPEG does, by the standard's 8x8 DCT.

    Own arithmetic instead of a codec's: codecs differ in the last bit.
    """
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    basis = _cosines()
    back = basis.T.copy()
    block, half, coefficients = np.empty((8, 8)), np.empty((8, 8)), np.empty((8, 8))
    result = np.empty(image.shape)
    for top in range(0, image.shape[0], 8):
        for left in range(0, image.shape[1], 8):
            block[:] = image[top : top + 8, left : left + 8] - 128.0
            _product(basis, block, 0.0, half)
            _product(half, back, 0.0, coefficients)
            _round(coefficients, scale)
            _product(coefficients, basis, 0.0, half)
            _product(back, half, 128.0, block)
            result[top : top + 8, left : left + 8] = block
    return result


@njit(cache=True)
def _toe(image, black):
    """Bend grey values below 2 * black so that they end at `black`."""
    result = image.copy()
    for j in range(len(image)):
        for i in range(len(image)):
            x = max(image[j, i], 0.0)
            if x < 2 * black:
                result[j, i] = black + x * x / (4 * black)
    return result


def _grey(image: np.ndarray) -> np.ndarray:
    """Grey values rounded and clipped to uint8."""
    return np.clip(np.floor(image + 0.5), 0, 255).astype(np.uint8)


def photograph(
    random: Random,
    radiance: np.ndarray,
    covered: np.ndarray,
    face: np.ndarray,
    behind: np.ndarray,
    fine: bool = False,
) -> np.ndarray:
    """Take the photograph.

    Parameters
    ----------
    random : Random
    radiance : (h, h) float64
    covered : (h, h) bool
        False where the backdrop shows.
    face : (h, h) bool
        Pixels of skin, on which exposure is metered.
    behind : (h, h) float64
    fine : bool
        Return (h, h) before blur, levels, noise and compression.

    Returns
    -------
    pixels : (h / 3, h / 3) uint8, or (h, h) uint8
    """
    skin = radiance[face] if face.any() else radiance.ravel()
    metered = max(_quantile(skin, random.uniform(0.6, 0.95)), 1e-3)
    image = _develop(
        radiance, covered, behind, random.uniform(0.45, 1.0) / metered, 1 / random.uniform(1.4, 2.4)
    )
    if fine:
        return _grey(255 * image)
    softness = random.pick({"sharp": 0.5, "usual": 0.4, "soft": 0.1})
    sigma = {
        "sharp": random.uniform(0.3, 0.8),
        "usual": random.uniform(0.8, 1.6),
        "soft": random.uniform(1.6, 3.2),
    }
    image = _shrink(blur(image, sigma[softness]), len(image) // 48)
    if random.chance(0.75):  # resized photographs are often sharpened
        image = image + random.uniform(0.2, 1.0) * (image - blur(image, 0.8))
    # Levels: the middle of the image gets the mean and deviation photographs have there.
    middle = image[8:40, 8:40].copy()
    mean, deviation = mean_and_deviation(middle)
    wanted_mean = min(max(random.normal(143.0, 31.0), 45.0), 215.0)
    wanted_deviation = min(max(42.0 * exp(random.normal(0, 0.26)), 18.0), 80.0)
    gain = wanted_deviation / max(deviation, 0.02)
    image = wanted_mean + gain * (image - mean)
    black = min(max(random.normal(16.0, 16.0), 0.0), 60.0)  # scattered light lifts the blacks
    image = _toe(image, black)
    grain = random.uniform(0.0, 5.0) * (1.0 if random.chance(0.35) else 0.2)
    image = image + grain * random.normals(48, 48)
    if random.chance(0.9):
        quality = 50 + random.integer(46)
        image = jpeg(np.clip(np.floor(image + 0.5), 0.0, 255.0), quality)
    return _grey(image)
