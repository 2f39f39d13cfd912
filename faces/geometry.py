"""The packed head, meshes, and a z-buffer rasteriser."""

import functools
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit

from faces.maths import cos, inlined, noise, sin
from fer_lib.files import UsageError

ASSETS = Path(__file__).parent / "assets" / "head.npz"

# What a triangle shows. The first seven are the packed head's parts.
SKIN, LEFT_EYE, RIGHT_EYE, UPPER_TEETH, LOWER_TEETH, TONGUE, LASHES = range(7)
HAIR, CLOTH, FRAME, LENS, HAND = range(7, 12)


@dataclass(frozen=True)
class Head:
    """The neutral head and the targets that deform it.

    Attributes
    ----------
    vertices : (v, 3) float64
        Decimetres; x to the face's left, y up, z forwards.
    triangles : (t, 3) int64
    part : (t,) int64
        SKIN .. LASHES.
    vertex_part : (v,) int64
    masks : (v, 4) float64
        0..1: lips, inside of the mouth, eyelids, ears.
    names : dict of str to int
        Number of each target.
    start, vertex, delta
        Sparse targets; see `faces.pack`.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    part: np.ndarray
    vertex_part: np.ndarray
    masks: np.ndarray
    names: dict[str, int]
    start: np.ndarray
    vertex: np.ndarray
    delta: np.ndarray

    def deform(self, vertices: np.ndarray, weights: dict[str, float]) -> np.ndarray:
        """Vertices (v, 3) moved by targets: name -> weight; unknown names raise KeyError."""
        numbers = np.array([self.names[name] for name in weights], np.int64)
        values = np.array(list(weights.values()), np.float64)
        return _add_targets(vertices, self.start, self.vertex, self.delta, numbers, values)


@functools.cache
def load_head(path: Path = ASSETS) -> Head:
    """Read the packed head.

    Raises
    ------
    UsageError
        If the file is missing or damaged.
    """
    try:
        with np.load(path) as data:
            masks = [data["mask_" + name] for name in ("lips", "inside_mouth", "eyelids", "ears")]
            return Head(
                vertices=data["vertices"] / 10000.0,
                triangles=data["triangles"].astype(np.int64),
                part=data["part"].astype(np.int64),
                vertex_part=data["vertex_part"].astype(np.int64),
                masks=np.stack(masks, 1) / 255.0,
                names={str(name): k for k, name in enumerate(data["names"])},
                start=data["start"].astype(np.int64),
                vertex=data["vertex"].astype(np.int64),
                delta=data["delta"] / 1000.0,
            )
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{path}: not the packed head ({error}); restore it or pack it anew with `python -m faces.pack`"
        ) from error


@njit(cache=True)
def _add_targets(vertices, start, vertex, delta, numbers, values):
    result = vertices.copy()
    for k in range(len(numbers)):
        value = values[k]
        for row in range(start[numbers[k]], start[numbers[k] + 1]):
            for axis in range(3):
                result[vertex[row], axis] += value * delta[row, axis]
    return result


@njit(cache=True)
def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals (v, 3)."""
    normals = np.zeros_like(vertices)
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x, y, z = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        ux, uy, uz = vertices[b, 0] - x, vertices[b, 1] - y, vertices[b, 2] - z
        vx, vy, vz = vertices[c, 0] - x, vertices[c, 1] - y, vertices[c, 2] - z
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in (a, b, c):
            normals[k, 0] += nx
            normals[k, 1] += ny
            normals[k, 2] += nz
    for k in range(len(normals)):
        x, y, z = normals[k]
        length = math.sqrt(x * x + y * y + z * z) + 1e-12
        for axis in range(3):
            normals[k, axis] /= length
    return normals


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation matrix (3, 3) for angles in radians: roll, then pitch, then yaw (applied first)."""
    cy, sy, cp, sp, cr, sr = cos(yaw), sin(yaw), cos(pitch), sin(pitch), cos(roll), sin(roll)
    return np.array(
        [
            [cr * cy - sr * sp * sy, -sr * cp, cr * sy + sr * sp * cy],
            [sr * cy + cr * sp * sy, cr * cp, sr * sy - cr * sp * cy],
            [-cp * sy, sp, cp * cy],
        ]
    )


@njit(cache=True)
def rotate(points: np.ndarray, matrix: np.ndarray, pivot: np.ndarray) -> np.ndarray:
    """Points (n, 3) rotated about `pivot`."""
    result = np.empty_like(points)
    for k in range(len(points)):
        x, y, z = points[k, 0] - pivot[0], points[k, 1] - pivot[1], points[k, 2] - pivot[2]
        for axis in range(3):
            row = matrix[axis]
            result[k, axis] = pivot[axis] + row[0] * x + row[1] * y + row[2] * z
    return result


@functools.cache
def sheet_triangles(rows: int, columns: int, wrap: bool = False) -> np.ndarray:
    """Triangles of a grid of vertices, row by row; `wrap` joins the last column to the first."""
    triangles = []
    for i in range(rows - 1):
        for j in range(columns if wrap else columns - 1):
            a, b = i * columns + j, i * columns + (j + 1) % columns
            triangles += [(a, b, b + columns), (a, b + columns, a + columns)]
    return np.array(triangles, np.int64)


def tube(
    path: np.ndarray, radius: np.ndarray, sides: int = 8, flatten: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Tube around a path.

    Parameters
    ----------
    path : (n, 3) array
    radius : (n,) array
    sides : int
    flatten : float
        Factor on the tube's thickness in z.

    Returns
    -------
    vertices (n * sides, 3), triangles (k, 3)
    """
    return _tube_vertices(path, radius, sides, flatten), sheet_triangles(len(path), sides, wrap=True)


@njit(cache=True)
def _tube_vertices(path, radius, sides, flatten):
    n = len(path)
    vertices = np.empty((n * sides, 3))
    for i in range(n):
        after, before = min(i + 1, n - 1), max(i - 1, 0)
        x, y, z = (
            path[after, 0] - path[before, 0],
            path[after, 1] - path[before, 1],
            path[after, 2] - path[before, 2],
        )
        length = math.sqrt(x * x + y * y + z * z) + 1e-12
        x, y, z = x / length, y / length, z / length
        # Two directions across the path; the reference axis is one the path is not along.
        if abs(z) < 0.8:
            ax, ay, az = y, -x, 0.0
        else:
            ax, ay, az = -z, 0.0, x
        length = math.sqrt(ax * ax + ay * ay + az * az)
        ax, ay, az = ax / length, ay / length, az / length
        bx, by, bz = y * az - z * ay, z * ax - x * az, x * ay - y * ax
        for j in range(sides):
            c, s = radius[i] * cos(6.2831853 * j / sides), radius[i] * sin(6.2831853 * j / sides)
            vertices[i * sides + j, 0] = path[i, 0] + c * ax + s * bx
            vertices[i * sides + j, 1] = path[i, 1] + c * ay + s * by
            vertices[i * sides + j, 2] = path[i, 2] + (c * az + s * bz) * flatten
    return vertices


@njit(cache=True)
def _front_area(x, y, closed, size):
    """Twice the signed area of a triangle; 0 if it lies outside the picture, or is seen edge-on.

    Of a closed surface, also if it is seen from behind.
    """
    if max(x) < 0 or max(y) < 0 or min(x) > size or min(y) > size:
        return 0.0
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    return 0.0 if abs(area) < 1e-9 or (closed and area > 0) else area


@njit(cache=True)
def _pixels(corners, size):
    """First pixel, and the one after the last, that a triangle may cover in one direction."""
    return max(0, math.floor(min(corners))), min(size - 1, math.floor(max(corners))) + 1


@njit(cache=True)
def _weights(x, y, i, j, area):
    """Barycentric weights of the first two corners at the middle of pixel (i, j)."""
    u, v = i + 0.5, j + 0.5
    first = ((x[1] - u) * (y[2] - v) - (x[2] - u) * (y[1] - v)) / area
    return first, ((x[2] - u) * (y[0] - v) - (x[0] - u) * (y[2] - v)) / area


@inlined
def _behind_lips(shown, weights, nearer, triangles, part, inside):
    """Tell whether teeth or tongue are seen where a pixel shows the triangle `shown`, or none."""
    if shown < 0:
        return False
    if part[shown] == SKIN:
        a, b, c = triangles[shown]
        u, v = weights
        return u * inside[a] + v * inside[b] + (1 - u - v) * inside[c] >= 0.3
    return UPPER_TEETH <= part[shown] <= TONGUE and nearer


@njit(cache=True)
def _frayed(cover, texture, corners, w0, w1, w2, strands):
    """Tell whether hair or cloth ends before this pixel: its cover is below the strand pattern."""
    a, b, c = corners
    x = w0 * texture[a, 0] + w1 * texture[b, 0] + w2 * texture[c, 0]
    y = w0 * texture[a, 1] + w1 * texture[b, 1] + w2 * texture[c, 1]
    z = w0 * texture[a, 2] + w1 * texture[b, 2] + w2 * texture[c, 2]
    edge = w0 * cover[a] + w1 * cover[b] + w2 * cover[c]
    return edge < 0.5 * noise(14 * x, 2 * y, 9 * z, strands)


@njit(cache=True)
def rasterise(px, py, depth, triangles, part, cover, texture, inside, strands, size):
    """Draw triangles into a z-buffer.

    Teeth and tongue are drawn last and only where the inside of the mouth is what one sees, so that they
    cannot pierce a lip. Hair and cloth fragments are dropped where their `cover` falls below a strand
    pattern: frayed edges without more triangles.

    Parameters
    ----------
    px, py, depth : (v,) float64
        Pixel coordinates and distance.
    triangles : (t, 3) int64
    part : (t,) int64
    cover : (v,) float64
        1 where a surface is whole; hair and cloth end where it reaches the strand pattern (-0.5..0.5).
    texture : (v, 3) float64
        Coordinates of the pattern.
    inside : (v,) float64
        1 on the inside of the mouth.
    strands : int
        Seed of the pattern.
    size : int
        Side of the square image.

    Returns
    -------
    winner : (size, size) int64
        Triangle a pixel shows, or -1.
    weights : (size, size, 2) float64
        Barycentric weights of its first two corners.
    z : (size, size) float64
    """
    z_buffer = np.full((size, size), 1e9)
    winner = np.full((size, size), -1, np.int64)
    weights = np.zeros((size, size, 2))
    for t in _mouth_last(part):
        a, b, c = triangles[t]
        x, y = (px[a], px[b], px[c]), (py[a], py[b], py[c])
        area = _front_area(x, y, part[t] == SKIN, size)
        if area == 0.0:
            continue
        in_mouth = UPPER_TEETH <= part[t] <= TONGUE
        frays = (part[t] == HAIR or part[t] == CLOTH) and min(cover[a], cover[b], cover[c]) < 0.5
        left, right = _pixels(x, size)
        top, bottom = _pixels(y, size)
        for j in range(top, bottom):
            for i in range(left, right):
                w0, w1 = _weights(x, y, i, j, area)
                w2 = 1.0 - w0 - w1
                if w0 < -1e-9 or w1 < -1e-9 or w2 < -1e-9:
                    continue
                z = w0 * depth[a] + w1 * depth[b] + w2 * depth[c]
                seen = z < z_buffer[j, i]
                if in_mouth:
                    seen = _behind_lips(winner[j, i], weights[j, i], seen, triangles, part, inside)
                if seen and not (frays and _frayed(cover, texture, (a, b, c), w0, w1, w2, strands)):
                    z_buffer[j, i] = z
                    winner[j, i] = t
                    weights[j, i, 0] = w0
                    weights[j, i, 1] = w1
    return winner, weights, z_buffer


@njit(cache=True)
def _mouth_last(part):
    """Numbers of the triangles in the order in which they are drawn: teeth and tongue last."""
    order, count = np.empty(len(part), np.int64), 0
    for in_mouth in (False, True):
        for t in range(len(part)):
            if (UPPER_TEETH <= part[t] <= TONGUE) == in_mouth:
                order[count] = t
                count += 1
    return order


@njit(cache=True)
def depth_map(px, py, depth, triangles, part, size):
    """Nearest depth (size, size) per pixel: the shadow map of a light."""
    z_buffer = np.full((size, size), 1e9)
    for t in range(len(triangles)):
        a, b, c = triangles[t]
        x, y = (px[a], px[b], px[c]), (py[a], py[b], py[c])
        area = _front_area(x, y, part[t] == SKIN, size)
        if area == 0.0:
            continue
        left, right = _pixels(x, size)
        top, bottom = _pixels(y, size)
        for j in range(top, bottom):
            for i in range(left, right):
                w0, w1 = _weights(x, y, i, j, area)
                if w0 < 0 or w1 < 0 or w0 + w1 > 1:
                    continue
                z = w0 * depth[a] + w1 * depth[b] + (1.0 - w0 - w1) * depth[c]
                if z < z_buffer[j, i]:
                    z_buffer[j, i] = z
    return z_buffer
