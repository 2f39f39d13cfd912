"""The scene of one image: the deformed head and what is added to it, as one mesh."""

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit

from faces.expression import Expression
from faces.geometry import (
    CLOTH,
    FRAME,
    HAIR,
    HAND,
    LASHES,
    LEFT_EYE,
    LENS,
    LOWER_TEETH,
    RIGHT_EYE,
    SKIN,
    TONGUE,
    UPPER_TEETH,
    Head,
    load_head,
    rotate,
    rotation,
    sheet_triangles,
    tube,
    vertex_normals,
)
from faces.identity import Identity
from faces.maths import Random, cos, noise, power, sin, smoothstep

LIPS, INSIDE, LIDS, EARS = range(4)  # columns of Head.masks
EYE_TO_MOUTH = 0.664  # of the base head, decimetres


@dataclass
class Scene:
    """One mesh, ready to be posed.

    Attributes
    ----------
    vertices : (v, 3) float64
        Where the vertices are, head upright.
    texture : (v, 3) float64
        Where they are on the undeformed head: paint is defined there.
    hairiness : (v,) float64
        Of the head's own vertices: hair (or hat) covers where this exceeds 0.
    cover : (v,) float64
        See `geometry.rasterise`.
    triangles : (t, 3) int64
    part : (t,) int64
    eyes : (2, 3) float64
        Centres of the left and right eye.
    mouth : (3,) float64
        Centre of the unexpressive lips.
    size : float
        Size of the face, 1 for the base head.
    extras : dict of str to str or int
        glasses, hat, hand: as in the factors table.
    """

    vertices: np.ndarray
    texture: np.ndarray
    hairiness: np.ndarray
    cover: np.ndarray
    triangles: np.ndarray
    part: np.ndarray
    eyes: np.ndarray
    mouth: np.ndarray
    size: float
    extras: dict = field(default_factory=dict)


def _mean(points: np.ndarray) -> np.ndarray:
    """Mean of points (n, 3), summed in order."""
    return np.array([math.fsum(column) / len(points) for column in points.T.tolist()])


@dataclass(frozen=True)
class _Measures:
    """Of a head that expresses nothing, in decimetres.

    Attributes
    ----------
    eyes : (2, 3) float64
        Centres of the left and right eye.
    mouth : (3,) float64
        Centre of the lips.
    size : float
        Size of the face, 1 for the base head.
    half_width : float
        From the middle to the side.
    front : float
        z of the forehead.
    """

    eyes: np.ndarray
    mouth: np.ndarray
    size: float
    half_width: float
    front: float


@functools.cache
def _regions() -> dict[str, np.ndarray]:
    """Return numbers of the vertices that are measured, and the mask (t,) of the upper lashes' triangles."""
    head = load_head()
    x, y, _ = head.vertices.T
    skin, lips = head.vertex_part == SKIN, head.masks[:, LIPS] > 0.5
    sides, forehead = np.abs(y - 7.3) < 0.4, (np.abs(y - 7.8) < 0.4) & (np.abs(x) < 0.2)
    masks = {"skin": skin, "lips": lips, "sides": skin & sides, "forehead": skin & forehead}
    found = {name: np.nonzero(mask)[0] for name, mask in masks.items()}
    return found | {"upper_lashes": y[head.triangles].max(1) > 7.28}


def _measure(still: np.ndarray, parts: np.ndarray) -> _Measures:
    """Measure the vertices (v, 3) of a head that expresses nothing."""
    regions = _regions()
    eyes, mouth = eye_centres(still, parts), _mean(still[regions["lips"]])
    top = float(still[regions["skin"], 1].max())
    return _Measures(
        eyes=eyes,
        mouth=mouth,
        size=0.5 * (_mean(eyes)[1] - mouth[1]) / EYE_TO_MOUTH + 0.5 * (top - mouth[1]) / 1.85,
        half_width=float(np.abs(still[regions["sides"], 0]).max()),
        front=float(still[regions["forehead"], 2].max()),
    )


def eye_centres(vertices: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Centres (2, 3) of the left and right eye."""
    return np.array([_mean(vertices[parts == part]) for part in (LEFT_EYE, RIGHT_EYE)])


class _Mesh:
    """Collects meshes."""

    def __init__(self, vertices: np.ndarray, texture: np.ndarray, triangles: np.ndarray, part: np.ndarray):
        self.vertices, self.texture = [vertices], [texture]
        self.cover = [np.ones(len(vertices))]
        self.triangles, self.part = [triangles], [part]
        self.count = len(vertices)

    def add(self, vertices, triangles, part: int, cover=None, texture=None) -> None:
        self.vertices.append(vertices)
        self.texture.append(vertices if texture is None else texture)
        self.cover.append(np.ones(len(vertices)) if cover is None else cover)
        self.triangles.append(triangles + self.count)
        self.part.append(np.full(len(triangles), part))
        self.count += len(vertices)

    def scene(self, hairiness: np.ndarray, **facts: Any) -> Scene:
        """Return everything as one mesh; `hairiness` is that of its first vertices."""
        return Scene(
            vertices=np.concatenate(self.vertices),
            texture=np.concatenate(self.texture),
            hairiness=np.concatenate([hairiness, np.full(self.count - len(hairiness), -1.0)]),
            cover=np.concatenate(self.cover),
            triangles=np.concatenate(self.triangles),
            part=np.concatenate(self.part).astype(np.int64),
            **facts,
        )


@njit(cache=True)
def _hairiness(vertices, parts, ears, line, curve, parting, side, sideburn, wave, crown, seed):
    """How far (decimetres) each head vertex lies inside the hair."""
    result = np.full(len(vertices), -1.0)
    for k in range(len(vertices)):
        if parts[k] != 0:
            continue
        x, y, z = vertices[k]
        front = y - (line - curve * x * x * 1.5 + wave * noise(3 * (x - parting), 0.0, 0.0, seed))
        back = min(1.2 * (side - z), 1.5 * (y - sideburn))
        value = max(front, back)
        if crown < 9.0:
            value = min(value, crown - y)  # bald crown
        if ears[k] > 0.3:
            value = -1.0
        result[k] = max(min(value, 0.6), -1.0)
    return result


@njit(cache=True)
def _puff(vertices, normals, hairiness, thickness, lumps, frequency, seed):
    """Move the haired vertices outwards by up to `thickness`."""
    result = vertices.copy()
    for k in range(len(hairiness)):
        if hairiness[k] > -0.02:
            x, y, z = vertices[k]
            lift = thickness * smoothstep(hairiness[k], -0.02, 0.3)
            lift *= 1.0 + lumps * noise(frequency * x, frequency * y, frequency * z, seed)
            for axis in range(3):
                result[k, axis] += lift * normals[k, axis]
    return result


def _curtain(random: Random, mesh: _Mesh, face: _Measures, part: int) -> None:
    """Long hair or a head scarf: a sheet around the sides and back of the head."""
    rows, columns = 18, 26
    opening = random.uniform(0.7, 1.35)
    bottom = random.uniform(-2.4, -0.7)
    width = face.half_width + random.uniform(0.02, 0.2) * face.size
    depth = random.uniform(0.95, 1.15) * face.size
    flare = random.uniform(-0.08, 0.2)
    wave, frequency, phase = random.uniform(0, 0.05), random.uniform(3, 9), random.uniform(0, 6)
    centre = _mean(face.eyes)
    points, cover = _curtain_points(
        rows, columns, opening, bottom, width, depth, flare, wave, frequency, phase, centre, face.size
    )
    mesh.add(points, sheet_triangles(rows, columns), part, cover if part == HAIR else None)


@njit(cache=True)
def _curtain_points(
    rows, columns, opening, bottom, width, depth, flare, wave, frequency, phase, centre, size
):
    points = np.empty((rows * columns, 3))
    cover = np.empty(rows * columns)
    for i in range(rows):
        y = 0.95 + (bottom - 0.95) * i / (rows - 1)
        dome = 1.0 - power(min(max(y / 1.05, 0.0), 1.0), 2.2)
        profile = math.sqrt(dome) + max(-y, 0.0) * flare
        for j in range(columns):
            k = i * columns + j
            angle = opening + (6.2831853 - 2 * opening) * j / (columns - 1)
            ripple = wave * sin(y * frequency + 3 * angle + phase)
            points[k, 0] = sin(angle) * width * profile + ripple
            points[k, 1] = centre[1] + y * size
            points[k, 2] = cos(angle) * depth * profile + centre[2] - 0.75 * size + ripple
            cover[k] = min((rows - 1 - i) / 3.0, min(j, columns - 1 - j) / 2.0) - 0.3
    return points, cover


def _fringe(random: Random, mesh: _Mesh, face: _Measures) -> None:
    """Hair falling over the forehead."""
    rows, columns = 10, 25
    sweep, parting = random.normal(0, 0.25), random.uniform(-0.5, 0.5)
    end = random.uniform(0.18, 0.6)
    centre = _mean(face.eyes)
    points = np.empty((rows, columns, 3))
    cover = np.empty((rows, columns))
    for j in range(columns):
        across = -0.8 + 1.6 * j / (columns - 1)
        low = end + sweep * across + 0.25 * abs(across - parting) * random.uniform(-0.2, 0.4)
        low = min(max(low, 0.08), 0.85)
        for i in range(rows):
            t = i / (rows - 1)
            y = 1.0 + (low - 1.0) * t
            x = across * face.half_width / 0.8 * (0.75 + 0.25 * math.sqrt(t))
            recede = 0.55 * power(abs(across) / 0.8, 2.2) + 1.2 * power(max(y - 0.45, 0.0), 2.0)
            points[i, j] = (x, centre[1] + y * face.size, face.front + 0.06 - recede * face.size)
            cover[i, j] = min((1 - t) * 2.2 - 0.45, min(j, columns - 1 - j) / 2.0)
    mesh.add(points.reshape(-1, 3), sheet_triangles(rows, columns), HAIR, cover.ravel())


def _glasses(
    random: Random, mesh: _Mesh, eyes: np.ndarray, half_width: float, size: float, dark: bool
) -> None:
    width = random.uniform(0.2, 0.28) * size
    height = width * random.uniform(0.55, 0.95)
    roundness = 2 / random.uniform(2, 5)
    thickness = random.uniform(0.007, 0.03) * size
    front = max(eyes[0, 2], eyes[1, 2]) + random.uniform(0.26, 0.36) * size
    n = 25
    inner = []
    for eye, side in ((eyes[0], 1.0), (eyes[1], -1.0)):
        rim = np.empty((n, 3))
        for k in range(n):
            angle = 6.2831853 * k / (n - 1)
            c, s = cos(angle), sin(angle)
            x = eye[0] * 1.03 + (1 if c > 0 else -1) * power(abs(c), roundness) * width
            y = eye[1] - 0.03 * size + (1 if s > 0 else -1) * power(abs(s), roundness) * height
            rim[k] = (x, y, front - 0.16 * abs(x))
        mesh.add(*tube(rim, np.full(n, thickness), 5), FRAME)
        inner.append([eye[0] * 1.03 - side * width, eye[1], front])
        if dark:
            fan = np.array([(k, k + 1, n) for k in range(n - 1)])
            mesh.add(np.concatenate([rim, _mean(rim)[None]]), fan, LENS)
        hinge = np.array([eye[0] * 1.03 + side * width, eye[1] + 0.03 * size, front - 0.1 * size])
        ear = np.array([side * half_width, eye[1] + 0.02 * size, eye[2] - 0.8 * size])
        line = np.array([hinge + (ear - hinge) * k / 5 for k in range(6)])
        mesh.add(*tube(line, np.full(6, 1.2 * thickness), 5), FRAME)
    inner = np.array(inner)
    bridge = np.array([inner[0] + (inner[1] - inner[0]) * k / 4 for k in range(5)])
    mesh.add(*tube(bridge, np.full(5, thickness), 5), FRAME)


def _hand(
    random: Random, mesh: _Mesh, wrist: np.ndarray, angle: float, lean: float, size: float, side: float
) -> None:
    """Mitten of fingers, thumb and palm; the fingers point `angle` from up, positive to the left."""
    up = np.array([sin(angle), cos(angle), lean])
    across = np.array([cos(angle), -sin(angle), 0.0])
    spread, curl = random.uniform(0.14, 0.2) * size, random.uniform(-0.1, 0.35) * size
    length = random.uniform(0.55, 0.8) * size
    for finger in range(4):
        knuckle = wrist + across * ((finger - 1.5) * spread) + up * (0.42 * size)
        reach = length * (1 - 0.12 * abs(finger - 1.3))
        fan = (finger - 1.5) * random.uniform(0.0, 0.12)
        path, radius = np.empty((8, 3)), np.empty(8)
        for k in range(8):
            t = k / 7
            path[k] = knuckle + up * (reach * t) + across * (fan * reach * t)
            path[k, 2] -= curl * t * t
            radius[k] = 0.082 * size * (1 - 0.2 * t) * math.sqrt(max(1 - power(t, 6.0), 0.02))
        mesh.add(*tube(path, radius, 7), HAND)
    path, radius = np.empty((8, 3)), np.empty(8)
    for k in range(8):  # thumb
        t = k / 7
        path[k] = wrist + across * (-side * (0.3 + 0.28 * t) * size) + up * ((0.05 + 0.45 * t) * size)
        radius[k] = 0.09 * size * math.sqrt(max(1 - power(t, 6.0), 0.02))
    mesh.add(*tube(path, radius, 7), HAND)
    path, radius = np.empty((9, 3)), np.empty(9)
    for k in range(9):  # palm and forearm
        t = k / 8
        path[k] = wrist + up * ((0.5 - 1.7 * t) * size)
        path[k, 2] -= 0.15 * t * size
        radius[k] = (
            (0.36 - 0.14 * smoothstep(t, 0.2, 0.6)) * size * math.sqrt(max(1 - power(1 - t, 8.0), 0.03))
        )
    mesh.add(*tube(path, radius, 10, flatten=0.4), HAND)


def _hands(
    random: Random,
    mesh: _Mesh,
    where: str,
    eyes: np.ndarray,
    mouth: np.ndarray,
    half_width: float,
    size: float,
):
    left = 1.0 if random.chance(0.5) else -1.0
    if where == "cheeks":
        for side in (1.0, -1.0):
            wrist = mouth + np.array(
                [side * half_width * random.uniform(0.85, 1.1), -0.55 * size, -0.25 * size]
            )
            wrist[1] += random.uniform(-0.3, 0.25) * size
            _hand(
                random, mesh, wrist, side * random.uniform(-0.35, 0.15), random.uniform(-0.2, 0.1), size, side
            )
    elif where == "mouth":
        wrist = mouth + np.array([left * 0.65 * size, -0.5 * size, 0.12 * size])
        wrist += np.array([random.normal(0, 0.08), random.normal(0, 0.08), 0.0])
        _hand(
            random, mesh, wrist, -left * random.uniform(0.5, 1.3), random.uniform(-0.1, 0.1), 0.9 * size, left
        )
    else:  # chin or one cheek
        wrist = mouth + np.array([left * random.uniform(0.2, 0.75) * size, -0.8 * size, -0.1 * size])
        _hand(
            random, mesh, wrist, left * random.uniform(-0.5, 0.4), random.uniform(-0.3, 0.1), 0.9 * size, left
        )


@dataclass
class _Haircut:
    """How the hair of a person, or a hat, covers the base head; in decimetres.

    Attributes
    ----------
    seeds : dict of str to int
        Of the noise in lumps and line, of long hair and of glasses.
    line, curve, parting, wave : float
        Height of the hairline over the forehead, how it falls to the sides, where it parts, its waves.
    side, sideburn : float
        How far forwards and how far down hair grows at the sides.
    thickness, lumps, frequency : float
        Of the hair, and of its uneven surface.
    fringe : bool
        Whether hair falls over the forehead.
    fringe_habits : Random
        How it falls.
    crown : float
        Height above which the head is bald; 9: nowhere.
    """

    seeds: dict[str, int]
    line: float
    curve: float
    parting: float
    side: float
    sideburn: float
    wave: float
    thickness: float
    lumps: float
    frequency: float
    fringe: bool
    fringe_habits: Random
    crown: float = 9.0


def _haircut(habits: Random, person: Identity) -> _Haircut:
    cut = _Haircut(
        seeds={name: habits.seed() for name in ("lumps", "line", "curtain", "glasses")},
        line=habits.uniform(7.80, 8.08) if habits.chance(0.85) else habits.uniform(7.62, 7.80),
        curve=habits.uniform(0.0, 0.5),
        parting=habits.uniform(-0.5, 0.5),
        side=habits.uniform(0.45, 0.85),
        sideburn=habits.uniform(6.6, 7.2),
        wave=habits.uniform(0.0, 0.1),
        thickness=habits.uniform(0.03, 0.16) if person.gender > 0.5 else habits.uniform(0.06, 0.3),
        lumps=habits.uniform(0.1, 0.6),
        frequency=habits.uniform(3, 9),
        fringe=habits.chance(0.4 if person.gender < 0.5 else 0.22),
        fringe_habits=Random(habits.seed()),
    )
    if person.hair == "bald":
        cut.line, cut.crown = (9.0, 7.6) if habits.chance(0.5) and person.age > 16 else (9.5, 0.0)
    return cut


def _put_hat_on(random: Random, cut: _Haircut) -> None:
    """Let the hat take the place of the hair."""
    cut.line, cut.crown, cut.curve, cut.wave = random.uniform(7.62, 7.8), 9.0, 0.0, 0.0
    cut.sideburn, cut.thickness, cut.lumps = random.uniform(7.0, 7.3), random.uniform(0.06, 0.18), 0.05


def _show_teeth(random: Random, moved: np.ndarray, parts: np.ndarray, happy: bool, size: float) -> None:
    """Let upper teeth reach lower and the tongue lie further back than modelled: a smile shows teeth."""
    upper, lower, tongue = (parts == part for part in (UPPER_TEETH, LOWER_TEETH, TONGUE))
    gum = float(moved[upper, 1].max())
    reach = random.uniform(1.1, 1.5) if happy else random.uniform(0.8, 1.15)
    moved[upper, 1] = gum + (moved[upper, 1] - gum) * reach
    moved[lower] += np.array([0.0, -random.uniform(0.02, 0.08) * size, -0.05])
    moved[tongue] -= np.array([0.0, 0.05 * size, 0.2 if happy else random.uniform(0.0, 0.15)])


def _look(moved: np.ndarray, parts: np.ndarray, gaze: tuple[float, float]) -> None:
    """Turn the eyes."""
    for part in (LEFT_EYE, RIGHT_EYE):
        chosen = parts == part
        moved[chosen] = rotate(moved[chosen], rotation(gaze[0], -gaze[1], 0.0), _mean(moved[chosen]))


def _shown_triangles(random: Random, head: Head, age: float) -> np.ndarray:
    """Tell which of the head's triangles (t,) are shown: lower lashes never, teeth not before they grow."""
    keep = (head.part != LASHES) | (_regions()["upper_lashes"] & random.chance(0.8))
    if age < 1.5:
        keep &= (head.part != UPPER_TEETH) & (head.part != LOWER_TEETH)
    return keep


def _brim(random: Random, mesh: _Mesh, face: _Measures, line: float) -> None:
    """Add the brim of a cap whose edge is at the height `line` of the base head."""
    rows, columns = 5, 15
    brim = np.empty((rows, columns, 3))
    reach, drop = random.uniform(0.35, 0.7), random.uniform(0.0, 0.35)
    y = _mean(face.eyes)[1] + (line - 7.28) * face.size + 0.05
    for i in range(rows):
        for j in range(columns):
            across = -1.0 + 2.0 * j / (columns - 1)
            out = reach * i / (rows - 1) * math.sqrt(1 - across * across)
            brim[i, j] = (
                across * 0.85 * face.half_width,
                y - 0.12 * across * across - drop * out,
                face.front + 0.1 - 0.55 * across * across * face.size + out * face.size,
            )
    mesh.add(brim.reshape(-1, 3), sheet_triangles(rows, columns), CLOTH)


def _cover_head(
    random: Random, mesh: _Mesh, face: _Measures, person: Identity, cut: _Haircut, hat: str
) -> None:
    """Add what hangs from the head: long hair or a scarf, a fringe, the brim of a cap."""
    if hat == "scarf" or (person.hair == "long" and hat != "beanie"):
        _curtain(Random(cut.seeds["curtain"]), mesh, face, CLOTH if hat == "scarf" else HAIR)
    if person.hair != "bald" and hat == "none" and cut.fringe and person.age > 2:
        _fringe(cut.fringe_habits, mesh, face)
    if hat == "cap":
        _brim(random, mesh, face, cut.line)


# How often hands are in the picture of a class, and where they are then.
_HANDS = {
    "neutral": (0.07, {"cheeks": 0.25, "mouth": 0.05, "chin": 0.7}),
    "happy": (0.04, {"cheeks": 0.25, "mouth": 0.05, "chin": 0.7}),
    "surprise": (0.15, {"cheeks": 0.6, "mouth": 0.25, "chin": 0.15}),
}


def build_scene(random: Random, person: Identity, habits: Random, expression: Expression) -> Scene:
    """Build the mesh of one image.

    Parameters
    ----------
    random : Random
        Of the image.
    person : Identity
    habits : Random
        Of the person: hair is cut the same in all of a person's images.
    expression : Expression
    """
    head = load_head()
    base, parts, masks = head.vertices, head.vertex_part, head.masks
    still = head.deform(base, person.weights)
    face = _measure(still, parts)
    size, half_width = face.size, face.half_width

    # Facial actions are modelled on the grown head: on a smaller one they are smaller, too.
    moved = head.deform(still, {name: min(size, 1.0) * value for name, value in expression.weights.items()})
    _show_teeth(random, moved, parts, expression.label == "happy", size)
    _look(moved, parts, expression.gaze)
    eyes = eye_centres(moved, parts)

    # Hair follows the person; a hat, glasses and hands belong to the image.
    hat = random.pick({"none": 0.91, "cap": 0.035, "beanie": 0.035, "scarf": 0.02})
    cut = _haircut(habits, person)
    if hat != "none":
        _put_hat_on(random, cut)
    hairiness = _hairiness(
        base,
        parts,
        masks[:, EARS],
        cut.line,
        cut.curve,
        cut.parting,
        cut.side,
        cut.sideburn,
        cut.wave,
        cut.crown,
        cut.seeds["line"],
    )
    normals = vertex_normals(moved, head.triangles)
    thickness = cut.thickness * size
    moved = _puff(moved, normals, hairiness, thickness, cut.lumps, cut.frequency, cut.seeds["lumps"])

    keep = _shown_triangles(random, head, person.age)
    mesh = _Mesh(moved, base, head.triangles[keep], head.part[keep])
    _cover_head(random, mesh, face, person, cut, hat)
    glasses = person.glasses if random.chance(0.85) else "none"
    if glasses != "none":
        _glasses(Random(cut.seeds["glasses"]), mesh, eyes, half_width, size, glasses == "sun")
    often, places = _HANDS[expression.label]
    hand = random.pick({"none": 1 - often} | {place: often * share for place, share in places.items()})
    if hand != "none":
        _hands(random, mesh, hand, eyes, face.mouth, half_width, size)
    return mesh.scene(
        hairiness,
        eyes=eyes,
        mouth=face.mouth,
        size=float(size),
        extras={"glasses": glasses, "hat": int(hat != "none"), "hand": int(hand != "none")},
    )
