"""A class as it is handed in: messy, broken and hostile submissions, each with the state that it has to have.

`python tests/helpers/made_class.py FOLDER MODELS` writes a class of 60 of the real models in a folder.
"""

import io
import json
import os
import pickle
import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from made import put

PLAYER = """
import cv2, numpy as np
class Player:
    def _get_emotion(self, img):
        face = cv2.resize(img, ({side}, {side}))
        return int(np.argmax(self.model.predict(face[None])))
"""


def zip_of(path: Path, **members: bytes) -> Path:
    """Write a zip of members, named by their keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def bytes_of_zip(**members: bytes) -> bytes:
    """Return a zip of members."""
    handle = io.BytesIO()
    with zipfile.ZipFile(handle, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return handle.getvalue()


def again(model: bytes) -> bytes:
    """Return the same zip of a model, packed anew: other bytes, equal weights."""
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    handle = io.BytesIO()
    with zipfile.ZipFile(handle, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in reversed(members):
            archive.writestr(name, members[name])
    return handle.getvalue()


def folder_of(path: Path, **files: bytes) -> Path:
    """Write a folder of files, named by their keys; slashes are folders."""
    for name, content in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return path


class Pickled:
    """What a pickle would execute: it writes a file where nothing may be written."""

    def __init__(self, evidence: Path) -> None:
        self.evidence = evidence

    def __reduce__(self) -> tuple[Callable, tuple]:
        return os.system, (f"touch {self.evidence}",)


def hostile(root: Path, model: bytes, evidence: Path) -> dict[str, tuple[str, str]]:
    """Write submissions that are broken or want to do harm.

    Parameters
    ----------
    root : Path
        Folder of the class.
    model : bytes
        That opens.
    evidence : Path
        Whatever there comes to be would be a crime.

    Returns
    -------
    dict of str to tuple
        By the beginning of the name under which it is known: the state, and words of the reason.
    """
    zeros = bytes(64 << 20)
    deep = "/".join(["d"] * 60)
    slip = os.path.relpath(evidence, root)
    zip_of(root / "h01 slip.zip", **{f"../{slip}/slipped.keras": model, "..\\..\\slipped.keras": model})
    zip_of(root / "h02 absolute.zip", **{f"{evidence}/absolute.keras": model, "C:\\absolute.keras": model})
    zip_of(root / "h03 bomb.zip", **{"section5.keras": zeros})
    folder_of(root / "h04 pickle", **{"section5.keras": pickle.dumps(Pickled(evidence / "pickled"))})
    folder_of(root / "h05 lambda", **{"section5.keras": lambda_network(evidence)})
    links = folder_of(root / "h06 links", **{"note.txt": b""})
    (links / "section5.keras").symlink_to("/etc/passwd")
    (links / "around").symlink_to(links, target_is_directory=True)
    put(folder_of(root / "h07 pipe", **{"note.txt": b""}) / "section5.keras", "pipe")
    many = folder_of(root / "h08 many", **{"note.txt": b""})
    for i in range(10_000):
        (many / f"{i}.txt").touch()
    zip_of(root / "h09 models.zip", **{f"{i}.keras": b"" for i in range(10_000)})
    folder_of(root / "h10 new\nline\x1b[31m", **{"section5.keras": model, "section6.keras": model})
    nested = bytes_of_zip(**{"c.zip": bytes_of_zip(**{"section5.keras": model})})
    zip_of(root / "h11 deep.zip", **{"b.zip": bytes_of_zip(**{"c.zip": nested})})
    whole = bytes_of_zip(**{"section5.keras": model})
    (root / "h12 truncated.zip").write_bytes(whole[: len(whole) // 2])
    put(root / "h13 a pipe", "pipe")
    (root / "h14 a link").symlink_to("/etc")
    zip_of(root / "h15 two.zip", **{"a.keras": model, "b.keras": again(model), "__MACOSX/._a.keras": b"x"})
    outside = json.dumps({"s5": "../../../../etc/passwd", "s6": "section6.keras"}).encode()
    folder_of(root / "h16 outside", **{"submission.json": outside, "section6.keras": model})
    laughs = b"a: &a [1]\nb: &b [*a, *a]\ns5: *b\n"
    folder_of(root / "h17 laughs", **{"submission.yaml": laughs, "section5.keras": model})
    folder_of(root / "h18 <script>alert(1)</script>", **{f"{deep}/section5.keras": model})
    hole = folder_of(root / "h19 =HYPERLINK(1)", **{"note.txt": b""}) / "section5.keras"
    with open(hole, "wb") as handle:
        handle.truncate(1 << 40)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 900000\n"
    folder_of(root / "h20 pointer", **{"section5.keras": pointer})
    return {
        "h01": ("missing", "leads out"),
        "h02": ("missing", "leads out"),
        "h03": ("missing", "bomb"),
        "h04": ("unreadable", "neither a zip archive nor HDF5"),
        "h05": ("unreadable", "Lambda"),
        "h06": ("missing", "a link"),
        "h07": ("missing", "a pipe"),
        "h08": ("missing", "10,001 files"),
        "h09": ("ambiguous", "10,000 models"),
        "h10": ("graded", ""),
        "h11": ("missing", "too deep"),
        "h12": ("unreadable", "cannot be read"),
        "h13": ("unreadable", "a pipe"),
        "h14": ("unreadable", "a link"),
        "h15": ("ambiguous", "no name says"),
        "h16": ("missing", "not there"),
        "h17": ("ambiguous", "references"),
        "h18": ("missing", "folders within each other"),
        "h19": ("unreadable", "MB"),
        "h20": ("unreadable", "Git LFS"),
    }


def lambda_network(evidence: Path) -> bytes:
    """Return a model file with a layer that would execute code."""
    code = {"class_name": "Lambda", "config": {"name": "l", "function": f"open('{evidence}/lambda', 'w')"}}
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": [code]}}
    return bytes_of_zip(
        **{
            "config.json": json.dumps(config).encode(),
            "metadata.json": b'{"keras_version": "3.15.1"}',
            "model.weights.h5": b"\x89HDF\r\n\x1a\n",
        }
    )


def of_sixty(root: Path, models: list[Path], evidence: Path) -> dict[str, tuple[str, str]]:
    """Write 35 submissions of real models, 5 copies packed anew, and 20 hostile ones; see `hostile`."""
    rng = random.Random(0)
    names = ["section5.keras", "Section_5_model.keras", "initial.keras", "step5/best.keras", "models/s5.h5"]
    sixth = ["section6.keras", "optimized_model.keras", "hyperparameters.keras", "part 6/final.keras"]
    expected: dict[str, tuple[str, str]] = {}
    for i in range(35):
        one, other = (models[(i * step) % len(models)].read_bytes() for step in (1, 5))
        files = {
            rng.choice(names): one,
            rng.choice(sixth): other,
            "player.py": PLAYER.format(side=48).encode(),
        }
        name = f"real{i:02}"
        if i == 1:
            files = {"all of it.zip": bytes_of_zip(**files)}
        if i % 3 == 0:
            zip_of(root / f"{name}.zip", **{f"My Project/{key}": value for key, value in files.items()})
        else:
            folder_of(root / name, **files)
    zips = [path for path in models if path.read_bytes().startswith(b"PK")]
    for i in range(5):
        model = again(zips[i % len(zips)].read_bytes())
        zip_of(root / f"copy{i}.zip", **{"section5.keras": model, "section6.keras": model})
    return expected | hostile(root, zips[0].read_bytes(), evidence)


if __name__ == "__main__":
    target, source = map(Path, sys.argv[1:])
    (target / "class").mkdir(parents=True)
    (target / "evidence").mkdir()
    states = of_sixty(target / "class", sorted(source.glob("*.keras")), target / "evidence")
    (target / "expected.json").write_text(json.dumps(states))
    print(len(os.listdir(target / "class")), "submissions")
