"""Find faces in a photograph, and cut them out upright, by the rule of the game's page (`game/finder.js`).

The page looks at one place a picture and follows a face; here all places of one picture are looked at.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fer_lib.data.picture import SIDE, to_face
from fer_tools.face_finder import network

# `RULE` of game/finder.js.
SCORE = 0.5  # least of a face
SURE = 0.75  # least of any face but the best
OVERLAP = 0.3  # from which on two answers are one face
AROUND = 2  # times the size of a face that is looked at from near by
SCALE = 1.19  # side of the square that is cropped, in sides of the finder's box
SHIFT = 0.074  # of that side, by which its centre lies higher
LARGEST_SQUARE = 480  # pixels of the upright square from which it is scaled down
SMALLEST = 20  # pixels of a face; of fewer no expression can be told
MOST_NEAR = 64  # faces that are looked at from near by

Place = tuple[float, float, float]  # centre x and y, and side of a square, pixels


@dataclass(frozen=True)
class Face:
    """A face as it is cropped.

    Attributes
    ----------
    x, y, side : float
        Centre and side (pixels) of the square.
    tilt : float
        Degrees by which the square and the face in it are turned, clockwise.
    score : float
        How sure the finder is, 0 to 1.
    """

    x: float
    y: float
    side: float
    tilt: float
    score: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom (pixels) of the square, before it is turned about its centre."""
        half = self.side / 2
        return self.x - half, self.y - half, self.x + half, self.y + half


def places(width: int, height: int) -> list[Place]:
    """Return the squares that are looked at: the whole picture, its middle, and six parts that overlap."""
    side = 0.6 * max(height, 0.75 * width)
    tiles = [(x * width, y * height, side) for y in (0.3, 0.7) for x in (0.25, 0.5, 0.75)]
    return [(width / 2, height / 2, float(end(width, height))) for end in (max, min)] + tiles


def faces(picture: Image.Image) -> list[Face]:
    """Return the faces in a photograph, the surest first.

    Parameters
    ----------
    picture : PIL.Image.Image
        Upright, in colour or grey.
    """
    colour = picture.convert("RGB")
    coarse = _distinct(_looked(colour, places(*colour.size)))[:MOST_NEAR]
    near = _looked(colour, [(x, y, AROUND * size) for _, (x, y, size, *_) in coarse])
    found = _distinct(near)
    return [_square(score, values) for i, (score, values) in enumerate(found) if i == 0 or score >= SURE]


def crop(grey: Image.Image, face: Face) -> np.ndarray:
    """Cut a face out of a grey picture, upright; beyond its edge the picture goes on as it ends.

    Returns
    -------
    (48, 48) uint8
    """
    reach = 0.71 * face.side + 2  # half a diagonal, and what is interpolated
    inside = _inside(grey, (face.x, face.y, 2 * reach))
    k = max(int(face.side / LARGEST_SQUARE), 1)
    part = grey.reduce(k, inside)
    x, y, side, reach = (face.x - inside[0]) / k, (face.y - inside[1]) / k, face.side / k, reach / k
    beyond = [
        (max(math.ceil(reach - at), 0), max(math.ceil(at + reach) - length, 0))
        for at, length in ((y, part.height), (x, part.width))
    ]
    around = Image.fromarray(np.pad(np.asarray(part), beyond, "edge"))
    n = min(max(round(side), SIDE), LARGEST_SQUARE)
    step, angle = side / n, math.radians(face.tilt)
    cos, sin = step * math.cos(angle), step * math.sin(angle)
    x, y = x + beyond[1][0], y + beyond[0][0]
    back = (cos, -sin, x - n / 2 * (cos - sin), sin, cos, y - n / 2 * (sin + cos))
    upright = around.transform((n, n), Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
    return to_face(upright)[0]


def _inside(picture: Image.Image, place: Place) -> tuple[int, int, int, int]:
    """Return the part of a square that is within a picture: left, top, right and bottom."""
    x, y, half = place[0], place[1], place[2] / 2
    low = max(math.floor(x - half), 0), max(math.floor(y - half), 0)
    return *low, min(math.ceil(x + half), picture.width), min(math.ceil(y + half), picture.height)


Answer = tuple[float, np.ndarray]  # score; x, y, size, then x and y of right eye, left eye ...; pixels


def _looked(picture: Image.Image, at: Iterable[Place]) -> list[Answer]:
    """Return what the network finds in squares of a picture; a face has its centre within the picture."""
    at = list(at)
    if not at:
        return []
    found = []
    answers = network.answers(np.stack([_seen(picture, place) for place in at]))
    for (x, y, side), scores, values in zip(at, *answers, strict=True):
        corner = np.array([x - side / 2, y - side / 2])
        for score, row in _averaged(scores[scores >= SCORE], values[scores >= SCORE]):
            centre, size = row[:2] * side + corner, row[2:4].max() * side
            if size >= SMALLEST and (centre >= 0).all() and (centre <= picture.size).all():
                found.append((score, np.array([*centre, size, *(row[4:] * side + np.tile(corner, 6))])))
    return found


def _seen(picture: Image.Image, place: Place) -> np.ndarray:
    """Return a square of a picture in the size of the network; black beyond the edge."""
    x, y, side = place
    left, top = x - side / 2, y - side / 2
    inside = _inside(picture, place)
    k = max(int(side / network.INPUT), 1)
    small = picture.reduce(k, inside)
    step = side / network.INPUT / k
    back = (step, 0, (left - inside[0]) / k, 0, step, (top - inside[1]) / k)
    size = (network.INPUT, network.INPUT)
    return np.asarray(small.transform(size, Image.Transform.AFFINE, back, Image.Resampling.BILINEAR))


def _averaged(scores: np.ndarray, values: np.ndarray) -> list[Answer]:
    """Average answers for one face, weighted by their scores; the score is the best one's."""
    found = []
    while len(scores):
        best = int(scores.argmax())
        same = _overlap(values[best], values) > OVERLAP
        same[best] = True
        found.append((float(scores[best]), np.average(values[same], axis=0, weights=scores[same])))
        scores, values = scores[~same], values[~same]
    return found


def _overlap(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return how much of two boxes together both have."""
    low = np.maximum(one[:2] - one[2:4] / 2, others[:, :2] - others[:, 2:4] / 2)
    high = np.minimum(one[:2] + one[2:4] / 2, others[:, :2] + others[:, 2:4] / 2)
    both = np.prod(np.clip(high - low, 0, None), axis=1)
    return both / np.maximum(np.prod(one[2:4]) + np.prod(others[:, 2:4], axis=1) - both, 1e-9)


def _distinct(answers: list[Answer]) -> list[Answer]:
    """Return the surest answer for each face: the centre of another is not within half of its size."""
    found: list[Answer] = []
    for answer in sorted(answers, key=lambda each: -each[0]):
        (x, y, size), others = answer[1][:3], [other[1][:3] for other in found]
        if all(math.hypot(x - ox, y - oy) > max(size, osize) / 2 for ox, oy, osize in others):
            found.append(answer)
    return found


def _square(score: float, values: np.ndarray) -> Face:
    """Return the square to crop."""
    x, y, size, *points = values.tolist()
    angle = math.atan2(points[3] - points[1], points[2] - points[0])
    side = SCALE * size
    up = SHIFT * side
    return Face(x + math.sin(angle) * up, y - math.cos(angle) * up, side, math.degrees(angle), score)
