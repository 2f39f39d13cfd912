"""From (seed, index) to a 48x48 image: pose, camera, light, paint, photograph."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from faces.expression import CLASSES, Expression, sample_expression
from faces.geometry import (
    CLOTH,
    FRAME,
    HAIR,
    LASHES,
    LEFT_EYE,
    LENS,
    LOWER_TEETH,
    RIGHT_EYE,
    SKIN,
    TONGUE,
    UPPER_TEETH,
    depth_map,
    load_head,
    rasterise,
    rotate,
    rotation,
    vertex_normals,
)
from faces.identity import Identity, sample_identity
from faces.maths import PI, Random, blur, bump, cos, inlined, noise, power, raised, sin, smoothstep
from faces.photometry import background, photograph
from faces.scene import INSIDE, LIPS, Scene, build_scene, eye_centres

SIZE = 48
FINE = 3 * SIZE  # rendered at three times the resolution, then averaged: smooth edges
SHADOW = 96  # side of the shadow maps
IMAGES_PER_PERSON = 3  # one of each class
DEGREES = 180.0 / PI


@dataclass(frozen=True)
class Image:
    """A rendered face and how it came about.

    Attributes
    ----------
    pixels : (48, 48) uint8
    factors : dict
        The columns of the factors table that the renderer knows; see data/README.md.
    """

    pixels: np.ndarray
    factors: dict[str, Any]


@dataclass(frozen=True)
class Camera:
    """Where the head is seen from."""

    yaw: float
    pitch: float
    roll: float
    centre: np.ndarray
    distance: float
    focal: float
    squeeze: float


def _turn(random: Random, typical: float, wide: float, limit: float) -> float:
    """Angle of a head: mostly near 0 with a wider tail."""
    angle = random.normal(0, wide if random.chance(0.25) else typical)
    return min(max(angle, -limit), limit)


def _pose(random: Random, scene: Scene, expression: Expression) -> tuple[np.ndarray, Camera]:
    """Turn head and shoulders; frame the face as a face detector would."""
    yaw, pitch, roll = (
        _turn(random, 0.20, 0.60, 1.15),
        _turn(random, 0.12, 0.28, 0.50),
        _turn(random, 0.08, 0.30, 0.60),
    )
    between_eyes = 0.5 * (scene.eyes[0] + scene.eyes[1])
    size = scene.size
    pivot = between_eyes + np.array([0.0, -0.6 * size, -0.8 * size])
    turned = rotate(scene.vertices, rotation(yaw, pitch, roll), pivot)
    shoulders = rotate(scene.vertices, rotation(0.4 * yaw, 0.2 * pitch, 0.3 * roll), pivot)
    follow = (scene.vertices[:, 1] - between_eyes[1]) / size  # the head turns, the shoulders follow a little
    follow = np.clip((follow + 1.9) / 0.8, 0.0, 1.0)[:, None]
    vertices = follow * turned + (1 - follow) * shoulders

    anchors = rotate(np.array([between_eyes, scene.mouth]), rotation(yaw, pitch, roll), pivot)
    # In photographs of FER2013 the eyes lie at row 18 of 48 and the mouth at row 37.5, on average.
    centre = anchors[0] + (anchors[1] - anchors[0]) * 0.30
    frame = random.normal(1.68, 0.11) * size * (1.0 + 0.07 * min(expression.strength("jawOpen"), 1.0))
    if random.chance(0.12):
        frame *= random.uniform(0.85, 1.3)
    spread = 0.09 if random.chance(0.15) else 0.03
    centre = centre + np.array([random.normal(0, spread), random.normal(0, spread), 0.0]) * frame
    # The nose leads the turn; detectors centre the whole head.
    centre[0] -= 0.12 * sin(yaw) * size
    distance = random.log_uniform(4.5, 25.0)
    # MakeHuman's faces are a little longer than those of photographs, measured by eyes, nose and mouth.
    squeeze = random.normal(0.955, 0.025)
    return vertices, Camera(yaw, pitch, roll, centre, distance, FINE / frame * distance, squeeze)


@dataclass(frozen=True)
class Lamp:
    """A light: unit direction towards it, strength, and the spread of its two samples."""

    direction: np.ndarray
    strength: float


def _light(random: Random) -> tuple[str, list[Lamp], float]:
    """Kind of light, its lamps, and the ambient share."""
    kind = random.pick({"frontal": 0.42, "side": 0.27, "top": 0.15, "flat": 0.12, "back": 0.04})
    azimuth, height = {
        "frontal": (random.normal(0, 0.35), random.normal(0.4, 0.25)),
        "side": (random.normal(0.95, 0.25) * (1 if random.chance(0.5) else -1), random.normal(0.35, 0.25)),
        "top": (random.normal(0, 0.5), random.normal(1.0, 0.15)),
        "flat": (random.normal(0, 0.5), random.normal(0.4, 0.3)),
        "back": (random.normal(2.0, 0.3) * (1 if random.chance(0.5) else -1), random.normal(0.6, 0.3)),
    }[kind]
    strength = random.uniform(0.7, 1.2) * {"flat": 0.25, "back": 1.2}.get(kind, 1.0)
    ambient = random.uniform(0.3, 0.75) + {"flat": 0.5, "back": 0.25, "side": -0.05}.get(kind, 0.0)
    keys = [(azimuth, height, strength)]
    if random.chance(0.5):  # a fill light from the other side
        keys.append((-azimuth + random.normal(0, 0.4), random.normal(0.3, 0.3), 0.45 * strength))
    lamps, soft = [], random.uniform(0.03, 0.2)
    for a, h, s in keys:
        for _ in range(2 if s == strength else 1):
            a2, h2 = a + random.normal(0, soft), h + random.normal(0, soft)
            direction = np.array([sin(a2) * cos(h2), sin(h2), cos(a2) * cos(h2)])
            lamps.append(Lamp(direction, s / (2 if s == strength else 1)))
    return kind, lamps, ambient


@njit(cache=True)
def _interpolate(winner, weights, triangles, values):
    """Vertex values (v, k) at the pixels (h, w, k); 0 where no triangle shows."""
    height, width = winner.shape
    result = np.zeros((height, width, values.shape[1]))
    for j in range(height):
        for i in range(width):
            t = winner[j, i]
            if t < 0:
                continue
            a, b, c = triangles[t]
            u, v = weights[j, i]
            for k in range(values.shape[1]):
                result[j, i, k] = u * values[a, k] + v * values[b, k] + (1 - u - v) * values[c, k]
    return result


@njit(cache=True)
def _occlusion(depth, covered):
    """Ambient light 0..1 that reaches each pixel: what lies deeper than its surroundings is darker."""
    size = depth.shape[0]
    half = size // 2
    far = 0.0
    for j in range(size):
        for i in range(size):
            if covered[j, i]:
                far = max(far, depth[j, i])
    coarse = np.empty((half, half))
    for j in range(half):
        for i in range(half):
            total = 0.0
            for b in range(2):
                for a in range(2):
                    y, x = 2 * j + b, 2 * i + a
                    total += depth[y, x] if covered[y, x] else far
            coarse[j, i] = 0.25 * total
    result = np.ones((size, size))
    for sigma, strength in ((1.5, 7.0), (4.0, 3.3), (9.0, 1.3)):
        smooth = blur(coarse, sigma)
        for j in range(size):
            for i in range(size):
                z = depth[j, i] if covered[j, i] else far
                deeper = min(max(z - smooth[j // 2, i // 2] - 0.015, 0.0), 1.0)
                result[j, i] /= 1.0 + strength * deeper
    return result


# Columns of the parameters handed to the paint kernel.
_PAINT = (
    "skin hair lip iris sclera tooth cloth frame brow_thickness brow_strength brow_arch brow_height "
    "brow_slope old smile forehead beard beard_density lid bag neckline gloss shine hat blotch hairline_noise"
).split()
_P = {name: k for k, name in enumerate(_PAINT)}
_SKIN_, _HAIR_, _LIP, _IRIS, _SCLERA, _TOOTH, _CLOTH_, _FRAME_ = range(8)
_BROW_T, _BROW_S, _BROW_A, _BROW_H, _BROW_SL, _OLD, _SMILE, _FOREHEAD = range(8, 16)
_BEARD, _DENSITY, _LID, _BAG, _NECK, _GLOSS, _SHINE, _HAT, _BLOTCH, _HAIRLINE = range(16, 26)
_LIGHT_TEETH = 0.65
_EYE_RADIUS = 0.138


@njit(cache=True)
def _skin_albedo(x, y, z, lips, inside, lids, p, seed):
    """Paint of skin at a point of the undeformed head: lips, brows, beard, folds."""
    side = abs(x)
    albedo = p[_SKIN_]
    albedo *= 1 + 0.07 * noise(2 * x, 2 * y, 2 * z, seed) + p[_BLOTCH] * noise(9 * x, 9 * y, 9 * z, seed + 1)
    albedo *= 1 - (1 - p[_LIP]) * lips
    if z > 0.9:
        albedo = _folds(albedo, side, y, lips, p)
    if p[_FOREHEAD] > 0 and z > 0.6:
        albedo *= 1 - _forehead_lines(x, y, p[_FOREHEAD], seed)
    if p[_OLD] > 0.1 and z > 0.3:  # crow's feet
        feet = bump(side, 0.6, 0.09) * bump(y, 7.27, 0.1)
        albedo *= 1 - 0.3 * p[_OLD] * feet * max(sin(60 * (y - 0.35 * (side - 0.5))), 0.0)
    albedo *= 1 - p[_BAG] * bump(side, 0.31, 0.15) * bump(y, 7.12, 0.05)
    albedo *= 1 - 0.05 * bump(side, 0.30, 0.22) * bump(y, 7.36, 0.07)
    albedo *= 1 - p[_LID] * lids
    albedo = _brow(albedo, x, y, z, p, seed)
    if p[_BEARD] > 0 and z > 0.0 and y < 7.1:
        albedo = _beard(albedo, x, y, z, lips, p, seed)
    albedo += (0.06 - albedo) * inside
    if y < p[_NECK] - 0.25 * side + 0.12 * cos(6 * x):
        albedo = p[_CLOTH_]
    return albedo


@njit(cache=True)
def _folds(albedo, side, y, lips, p):
    """Paint of skin with the folds around nose and mouth."""
    # From nose to mouth, deeper with age and smiling; dimples at the mouth's corners.
    fold = 0.29 + 0.08 * p[_SMILE] + 0.30 * (6.95 - y)
    cheek = smoothstep(y, 6.52, 6.75) * (1 - smoothstep(y, 6.93, 7.05))
    albedo *= 1 - (0.05 + 0.20 * p[_SMILE] + 0.22 * p[_OLD]) * bump(side, fold, 0.04) * cheek
    albedo *= 1 - (0.06 + 0.30 * min(p[_SMILE], 1.0)) * bump(side, 0.265, 0.045) * bump(y, 6.635, 0.04)
    # Nostrils, the wings' creases, and the shade below the nose, between the lips and below them.
    albedo *= 1 - 0.50 * bump(side, 0.072, 0.045) * bump(y, 6.83, 0.03)
    albedo *= 1 - 0.30 * bump(side, 0.175, 0.03) * bump(y, 6.87, 0.06)
    albedo *= 1 - 0.10 * bump(side, 0.0, 0.13) * bump(y, 6.785, 0.035)
    albedo *= 1 - 0.60 * lips * bump(y, 6.615, 0.015)
    albedo *= 1 - 0.10 * bump(side, 0.0, 0.14) * bump(y, 6.46, 0.035)
    return albedo


@njit(cache=True)
def _forehead_lines(x, y, depth, seed):
    lines = smoothstep(y, 7.55, 7.65) * (1 - smoothstep(y, 7.88, 8.05)) * (1 - smoothstep(abs(x), 0.3, 0.6))
    if lines <= 0:
        return 0.0
    return depth * lines * max(sin(58 * y + 1.5 * cos(4 * x) + noise(3 * x, 3 * y, 0.0, seed + 2)), 0.0)


@njit(cache=True)
def _brow(albedo, x, y, z, p, seed):
    """Paint of skin with brows: thick inside, thinning and falling towards the temple."""
    along = (abs(x) - 0.10) / 0.42
    if not (z > 0.5 and -0.1 < along < 1.15 and abs(y - 7.46) < 0.25):
        return albedo
    inner = min(max(along, 0.0), 1.0)
    middle = 7.46 + p[_BROW_H] + p[_BROW_A] * sin(2.6 * inner) - 0.05 * max(along - 0.6, 0.0)
    middle += p[_BROW_SL] * (along - 0.5)
    half = p[_BROW_T] * (1 - 0.6 * power(inner, 1.5)) * smoothstep(along, -0.08, 0.1)
    half *= 1 - smoothstep(along, 0.85, 1.12)
    if half > 0.002:
        d = (y - middle) / half
        grain = 0.8 + 0.2 * noise(45 * x, 20 * y, 0.0, seed + 3)
        cover = p[_BROW_S] * grain / (1 + d * d * d * d)
        albedo += (min(p[_HAIR_] * 0.9, 0.75 * p[_SKIN_]) - albedo) * min(cover, 1.0)
    return albedo


@njit(cache=True)
def _beard(albedo, x, y, z, lips, p, seed):
    """Paint of skin with a beard: 1 stubble, 2 moustache, 3 goatee, 4 full."""
    side, kind = abs(x), int(p[_BEARD])
    jaw = smoothstep(-y, -6.9, -6.6) * (smoothstep(side, 0.28, 0.5) + smoothstep(-y, -6.54, -6.44))
    jaw = min(jaw, 1.0) * smoothstep(z, 0.2, 0.5) * smoothstep(y, 5.9, 6.1)
    moustache = bump(y, 6.775, 0.055) * (1 - smoothstep(side, 0.2, 0.3)) * smoothstep(z, 1.1, 1.3)
    goatee = bump(y, 6.36, 0.16) * (1 - smoothstep(side, 0.12, 0.24)) * smoothstep(z, 0.9, 1.1)
    if kind == 2:
        cover = moustache
    elif kind == 3:
        cover = max(moustache, goatee)
    else:
        cover = max(max(jaw, moustache), goatee)
    cover *= p[_DENSITY] * (1 - lips) * (1 + 0.4 * noise(16 * x, 16 * y, 16 * z, seed + 4))
    tone = min(p[_HAIR_] * 1.2, 0.8 * p[_SKIN_]) if kind > 1 else 0.45 * p[_SKIN_]
    return albedo + (tone - albedo) * min(max(cover, 0.0), 0.95)


@njit(cache=True)
def _cloth(x, y, z, p, seed):
    return p[_CLOTH_] * (1 + 0.1 * noise(14 * x, 14 * y, 14 * z, seed))


@inlined
def _skin(x, y, z, lips, inside, lids, hairiness, p, seed):
    """Skin, or the hair or hat that covers it; see `_material`."""
    albedo = _skin_albedo(x, y, z, lips, inside, lids, p, seed)
    edge = hairiness
    if abs(edge) < 0.2:
        edge += p[_HAIRLINE] * noise(11 * x, 11 * y, 11 * z, seed + 5)
    if edge <= 0.0:
        return albedo, p[_GLOSS], int(p[_SHINE])
    if p[_HAT] > 0:
        tone = _cloth(x, y, z, p, seed)
    else:
        strand = 1 + 0.4 * noise(17 * x, 3 * y, 11 * z, seed + 6) + 0.2 * noise(6 * x, 6 * y, 6 * z, seed)
        tone = p[_HAIR_] * strand
    return albedo + (tone - albedo) * smoothstep(edge, 0.0, 0.06), 0.12 * p[_HAIR_], 3


@inlined
def _eye(dx, dy, dz, p):
    """Albedo of an eye: pupil, iris with its dark rim, white."""
    radius = math.sqrt(dx * dx + dy * dy) / _EYE_RADIUS
    if dz <= 0 or radius >= 0.46:
        return p[_SCLERA]
    if radius < 0.2:
        return 0.006
    return p[_IRIS] * (0.5 if radius > 0.40 else 1.0)


@njit(cache=True)
def _tooth(x, upper, p):
    gap = abs(sin(19 * x))
    albedo = p[_TOOTH] * (0.86 + 0.14 * min(3 * gap, 1.0)) * (1 - 0.6 * smoothstep(abs(x), 0.12, 0.30))
    return albedo if upper else albedo * 0.85


@inlined
def _material(kind, x, y, z, lips, inside, lids, hairiness, eyes_rest, p, seed):
    """Albedo of a surface, how strong its highlights are, and how sharp: half as wide for each two more."""
    if kind == SKIN:
        return _skin(x, y, z, lips, inside, lids, hairiness, p, seed)
    if kind == LEFT_EYE or kind == RIGHT_EYE:
        k = kind - LEFT_EYE
        return _eye(x - eyes_rest[k, 0], y - eyes_rest[k, 1], z - eyes_rest[k, 2], p), 0.8, 6
    if kind == UPPER_TEETH or kind == LOWER_TEETH:
        return _tooth(x, kind == UPPER_TEETH, p), 0.15, 5
    if kind == TONGUE:
        return 0.20, 0.05, 4
    if kind == LASHES:
        return 0.05, 0.0, 4
    if kind == HAIR:
        strand = 1 + 0.45 * noise(17 * x, 2 * y, 11 * z, seed + 6) + 0.2 * noise(5 * x, 5 * y, 5 * z, seed)
        return p[_HAIR_] * strand, 0.12 * p[_HAIR_], 3
    if kind == CLOTH:
        return _cloth(x, y, z, p, seed), 0.0, 4
    if kind == FRAME:
        return p[_FRAME_], 0.3, 4
    if kind == LENS:
        return 0.015, 0.25, 5
    return p[_SKIN_] * 1.02, 0.5 * p[_GLOSS], int(p[_SHINE])  # a hand


@njit(cache=True)
def _least_light(kind):
    """Least shares of ambient and lamp light: teeth are glossy and catch light from everywhere."""
    if kind == UPPER_TEETH:
        return _LIGHT_TEETH, 0.75
    if kind == LOWER_TEETH:
        return 0.6 * _LIGHT_TEETH, 0.45
    return 0.0, 0.0


@inlined
def _lit(shadows, frames, n, dx, dy, dz, lx, ly, lz, facing):
    """Share of a lamp's light that reaches a point, by the four nearest points of its shadow map."""
    size = shadows.shape[1]
    u = (dx * frames[n, 0] + dy * frames[n, 1] + dz * frames[n, 2]) * frames[n, 6] + 0.5 * size
    v = 0.5 * size - (dx * frames[n, 3] + dy * frames[n, 4] + dz * frames[n, 5]) * frames[n, 6]
    fu, fv = math.floor(u - 0.5), math.floor(v - 0.5)
    if fu < 0 or fv < 0 or fu >= size - 1 or fv >= size - 1:
        return 1.0
    depth = -(dx * lx + dy * ly + dz * lz)
    bias = 0.06 + 0.12 * max(1 - abs(facing), 0.0)
    a, b = int(fu), int(fv)
    right, below = u - 0.5 - fu, v - 0.5 - fv
    lit = 0.0
    for corner in range(4):
        ca, cb = corner & 1, corner >> 1
        if depth < shadows[n, b + cb, a + ca] + bias:
            lit += (right if ca else 1 - right) * (below if cb else 1 - below)
    return lit


@njit(cache=True)
def _highlight(nx, ny, nz, hx, hy, hz, shine):
    """Strength 0..1 of a highlight for a normal and the sum of the directions to lamp and camera."""
    length = math.sqrt(hx * hx + hy * hy + hz * hz) + 1e-12
    half = max((nx * hx + ny * hy + nz * hz) / length, 0.0)
    return raised(half, shine) if half > 0.3 else 0.0


@njit(cache=True)
def _shade(
    winner, triangles, part, pixel, occlusion, eyes_rest, view, lamps, shadows, frames, ambient, p, seed
):
    """Radiance (h, w) of every covered pixel.

    `pixel` holds, per pixel: normal 0:3, undeformed position 3:6, position 6:9, masks 9:13, hairiness 13.
    `view`: position of the camera, and the centre of what it sees. `lamps` (n, 4): direction and strength;
    `shadows` (n, s, s) their depth maps in the frames (n, 7): two axes, and the scale.
    """
    height, width = winner.shape
    result = np.zeros((height, width))
    for j in range(height):
        for i in range(width):
            t = winner[j, i]
            if t < 0:
                continue
            nx, ny, nz, x, y, z, wx, wy, wz, lips, inside, lids, _ears, hairiness = pixel[j, i]
            vx, vy, vz = view[0] - wx, view[1] - wy, view[2] - wz
            length = math.sqrt(vx * vx + vy * vy + vz * vz)
            vx, vy, vz = vx / length, vy / length, vz / length
            length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
            nx, ny, nz = nx / length, ny / length, nz / length
            if nx * vx + ny * vy + nz * vz < 0:
                nx, ny, nz = -nx, -ny, -nz
            albedo, glint, shine = _material(
                part[t], x, y, z, lips, inside, lids, hairiness, eyes_rest, p, seed
            )
            albedo = min(max(albedo, 0.004), 0.95)

            least_air, least_lit = _least_light(part[t])
            open_air = max(occlusion[j, i], least_air)
            light = ambient * (0.55 + 0.45 * ny) * open_air + 0.3 * ambient * open_air
            gleam = 0.0
            dx, dy, dz = wx - view[3], wy - view[4], wz - view[5]
            for n in range(len(lamps)):
                lx, ly, lz, strength = lamps[n]
                facing = nx * lx + ny * ly + nz * lz
                diffuse = max((facing + 0.18) / 1.18, 0.0)
                if diffuse <= 0.0:
                    continue
                lit = max(_lit(shadows, frames, n, dx, dy, dz, lx, ly, lz, facing), least_lit)
                light += 1.5 * strength * lit * diffuse * (0.6 + 0.4 * open_air)
                gleam += strength * lit * glint * _highlight(nx, ny, nz, lx + vx, ly + vy, lz + vz, shine)
            result[j, i] = albedo * light + 0.5 * gleam
    return result


@functools.cache
def _eyes_rest() -> np.ndarray:
    """Centres (2, 3) of the eyes of the undeformed head."""
    head = load_head()
    return eye_centres(head.vertices, head.vertex_part)


def _shadow_maps(
    lamps: list[Lamp], camera: Camera, vertices: np.ndarray, scene: Scene
) -> tuple[np.ndarray, np.ndarray]:
    """Shadow maps (n, s, s) of the lamps, and their frames (n, 7); see `_shade`."""
    shadows = np.empty((len(lamps), SHADOW, SHADOW))
    frames = np.empty((len(lamps), 7))
    dx, dy, dz = (vertices[:, axis] - camera.centre[axis] for axis in range(3))
    scale = 0.5 * SHADOW / (1.75 * scene.size)
    for n, lamp in enumerate(lamps):
        lx, ly, lz = lamp.direction
        flat = math.sqrt(lx * lx + lz * lz) + 1e-9
        across = np.array([lz / flat, 0.0, -lx / flat])
        upward = np.array([ly * across[2], lz * across[0] - lx * across[2], -ly * across[0]])
        frames[n] = (*across, *upward, scale)
        shadows[n] = depth_map(
            (dx * across[0] + dz * across[2]) * scale + 0.5 * SHADOW,
            0.5 * SHADOW - (dx * upward[0] + dy * upward[1] + dz * upward[2]) * scale,
            -(dx * lx + dy * ly + dz * lz),
            scene.triangles,
            scene.part,
            SHADOW,
        )
    return shadows, frames


def _paint_parameters(
    random: Random, person: Identity, habits: Random, expression: Expression, scene: Scene
) -> np.ndarray:
    p = np.zeros(len(_PAINT))
    smile = min(expression.strength("mouthSmile"), 1.2)
    brow_raise = 0.5 * (expression.strength("browInnerUp") + expression.strength("browOuterUp"))
    adult = person.age > 16
    values = {
        "skin": person.skin,
        "hair": person.hair_tone,
        "lip": person.lip_tone,
        "iris": person.iris_tone,
        "sclera": random.uniform(0.45, 0.75),
        "tooth": habits.uniform(0.7, 0.95),
        "cloth": habits.uniform(0.02, 0.85),
        "frame": habits.pick({0.02: 0.6, 0.06: 0.2, 0.3: 0.1, 0.5: 0.1}),
        "brow_thickness": person.brow["thickness"],
        "brow_strength": person.brow["strength"],
        "brow_arch": person.brow["arch"],
        "brow_height": person.brow["height"],
        "brow_slope": person.brow["slope"],
        "old": person.old * habits.uniform(0.4, 1.0),
        "smile": smile * habits.uniform(0.3, 1.0) * (1.0 if adult else 0.4),
        "forehead": min(
            0.25 * brow_raise * (1.0 if adult else 0.2) * habits.uniform()
            + 0.35 * person.old * habits.uniform(),
            0.5,
        ),
        "beard": ("none", "stubble", "moustache", "goatee", "full").index(person.beard),
        "beard_density": habits.uniform(0.3, 0.7) if person.beard == "stubble" else habits.uniform(0.55, 1.0),
        "lid": habits.uniform(0.05, 0.5) if adult and person.gender < 0.5 else habits.uniform(0.0, 0.2),
        "bag": habits.uniform(0.0, 0.12 + 0.15 * person.old),
        "neckline": habits.uniform(5.7, 6.05) if habits.chance(0.85) else 0.0,
        "gloss": random.uniform(0.0, 0.22),
        "shine": 3 + random.integer(3),
        "hat": scene.extras["hat"],
        "blotch": habits.uniform(0.0, 0.05),
        "hairline_noise": habits.uniform(0.02, 0.09),
    }
    for name, value in values.items():
        p[_P[name]] = value
    return p


@functools.lru_cache(maxsize=8)
def _person(seed: int, number: int) -> Identity:
    return sample_identity(Random(seed, number, 1))


def label_of(index: int) -> str:
    """Class of image `index`: the classes take turns, so any run of three is balanced."""
    return CLASSES[index % len(CLASSES)]


def render(seed: int, index: int, label: str | None = None, fine: bool = False) -> Image:
    """Render image `index` of seed `seed`; depends on nothing else.

    Parameters
    ----------
    seed : int
        At least 0. Images 3k, 3k + 1 and 3k + 2 of a seed show the same person.
    index : int
        At least 0.
    label : str, optional
        Class to render instead of the one whose turn it is.
    fine : bool
        Return the 144x144 picture before the photographic chain (for looking at).

    Raises
    ------
    UsageError
        If the class is unknown.
    """
    number = index // IMAGES_PER_PERSON
    person = _person(seed, number)
    habits = Random(seed, number, 2)
    random = Random(seed, index, 3)
    expression = sample_expression(random, label or label_of(index), person)
    scene = build_scene(random, person, habits, expression)
    vertices, camera = _pose(random, scene, expression)
    light, lamps, ambient = _light(random)
    p = _paint_parameters(random, person, Random(seed, number, 4), expression, scene)

    head = load_head()
    masks = np.zeros((len(vertices), 4))
    masks[: len(head.masks)] = head.masks
    depth = camera.centre[2] + camera.distance - vertices[:, 2]
    px = (vertices[:, 0] - camera.centre[0]) / depth * camera.focal + FINE / 2
    py = (camera.centre[1] - vertices[:, 1]) / depth * (camera.focal * camera.squeeze) + FINE / 2
    winner, weights, z_buffer = rasterise(
        px,
        py,
        depth,
        scene.triangles,
        scene.part,
        scene.cover,
        scene.texture,
        masks[:, INSIDE].copy(),
        random.seed(),
        FINE,
    )
    values = np.concatenate(
        [vertex_normals(vertices, scene.triangles), scene.texture, vertices, masks, scene.hairiness[:, None]],
        1,
    )
    pixel = _interpolate(winner, weights, scene.triangles, values)
    covered = winner >= 0
    occlusion = _occlusion(z_buffer, covered)

    shadows, frames = _shadow_maps(lamps, camera, vertices, scene)
    view = np.array([camera.centre[0], camera.centre[1], camera.centre[2] + camera.distance, *camera.centre])
    radiance = _shade(
        winner,
        scene.triangles,
        scene.part,
        pixel,
        occlusion,
        _eyes_rest(),
        view,
        np.array([[*lamp.direction, lamp.strength] for lamp in lamps]),
        shadows,
        frames,
        ambient,
        p,
        random.seed(),
    )
    kinds = np.where(covered, scene.part[winner], -1)
    face = kinds == SKIN
    behind = background(random, FINE)
    pixels = photograph(random, radiance, covered, face, behind, fine)

    factors = {"label": expression.label, "identity": seed * 1_000_000 + number}
    factors |= _person_factors(person) | _pose_factors(camera) | _expression_factors(expression)
    factors |= {"teeth": _share_of_teeth(kinds, pixel)} | scene.extras
    factors |= {"beard": person.beard, "hair": person.hair, "light": light, "seed": seed}
    return Image(pixels, factors)


def _person_factors(person: Identity) -> dict[str, float]:
    african, asian = round(person.ancestry["african"], 3), round(person.ancestry["asian"], 3)
    return {
        "age": round(person.age, 1),
        "gender": round(person.gender, 3),
        "african": african,
        "asian": asian,
        "european": round(1.0 - african - asian, 3),
    }


def _pose_factors(camera: Camera) -> dict[str, float]:
    angles = {"yaw": camera.yaw, "pitch": -camera.pitch, "roll": -camera.roll}
    return {name: round(angle * DEGREES, 1) for name, angle in angles.items()}


def _expression_factors(expression: Expression) -> dict[str, float]:
    strength = expression.strength
    measured = {
        "intensity": expression.intensity,
        "smile": strength("mouthSmile"),
        "mouth_open": strength("jawOpen"),
        "brow_raise": 0.5 * (strength("browInnerUp") + strength("browOuterUp")),
        "eye_wide": strength("eyeWide"),
        "brow_lower": strength("browDown"),
        "eye_closed": strength("eyeBlink"),
    }
    return {name: round(value, 3) for name, value in measured.items()}


def _share_of_teeth(kinds: np.ndarray, pixel: np.ndarray) -> float:
    """Share of the mouth that shows teeth, from what each pixel (h, w) shows and its values; see `_shade`."""
    skin = kinds == SKIN
    teeth = int(((kinds == UPPER_TEETH) | (kinds == LOWER_TEETH)).sum())
    mouth = teeth + int((kinds == TONGUE).sum())
    mouth += sum(int((skin & (pixel[:, :, 9 + mask] > 0.5)).sum()) for mask in (INSIDE, LIPS))
    return round(teeth / mouth, 3) if mouth else 0.0
