"""Under load: many images are read in time that grows with their number, and in bounded memory.

`make load` takes 100,000 and 500,000 (ten minutes and 3 GB of disk); FER_LOAD chooses other numbers.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from made import draw_face
from PIL import Image

from fer_lib.data.faces import DEFAULT_CLASSES
from fer_lib.data.readers.source import FER2013_CLASSES
from fer_lib.files import ROOT

SIZES = [int(number) for number in os.environ.get("FER_LOAD", "5000,20000").split(",")]
GIGABYTES = 3  # of memory, at most
DIFFERENT = 300  # images; the others are links to them

# What notebooks 01 and 02 do first: all images, those of the test part, and the split without duplicates.
CODE = """
import json, resource, sys, time
from types import SimpleNamespace

from fer_lib.data import load

before = time.process_time()
classes = sys.argv[2].split(",")
settings = SimpleNamespace(data=sys.argv[1], test_data="", classes=classes, train_samples=150)
settings.validation_share, settings.seed, settings.duplicates = 0.2, 0, "remove"
faces, split = load.load_split(settings)
seconds = time.process_time() - before
try:  # not ru_maxrss, which begins with what the process had that started this one
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 2**20
except OSError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
removed = split.removed["total"]
print(json.dumps({"images": len(faces), "removed": removed, "seconds": seconds, "gigabytes": peak}))
"""


def measure(data: Path, cache: Path, classes: tuple[str, ...] = DEFAULT_CLASSES) -> dict:
    """Load in a process of its own: number of images, CPU seconds, peak memory."""
    clock = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(data), ",".join(classes)],
        capture_output=True,
        text=True,
        env=os.environ | {"FER_CACHE": str(cache), "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"elapsed": time.perf_counter() - clock}


def say(what: str, found: dict) -> None:
    print(
        f"{found['images']:>9,} images, {what:<14} {found['seconds']:7.1f} s CPU, {found['elapsed']:7.1f} s, "
        f"{1e6 * found['seconds'] / found['images']:6.1f} µs CPU per image, {found['gigabytes']:.2f} GB peak",
        flush=True,
    )


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Give different JPEG and PNG files of 48x48 pixels."""
    folder = tmp_path_factory.mktemp("originals")
    paths = [folder / f"{i}{('.jpg', '.png')[i % 2]}" for i in range(DIFFERENT)]
    for i, path in enumerate(paths):
        Image.fromarray(draw_face(DEFAULT_CLASSES[i % 3], i)).save(path)
    return paths


def farm(folder: Path, originals: list[Path], count: int) -> Path:
    """Make an image folder of `count` training images and a tenth as many for testing, by hard links."""
    for part, usage, number in (("train", "Training", count), ("test", "PublicTest", count // 10)):
        for name in DEFAULT_CLASSES:
            (folder / part / name).mkdir(parents=True)
        half = len(originals) // 2
        mine = originals[:half] if part == "train" else originals[half:]  # no leaks
        for i in range(number):
            source = mine[i % len(mine)]
            name = DEFAULT_CLASSES[(i % len(mine)) % 3]
            os.link(source, folder / part / name / f"{usage}_{i:08d}{source.suffix}")
    return folder


def test_time_grows_with_the_number_of_images_and_memory_is_bounded(originals, tmp_path):
    cold, warm = [], []
    for count in SIZES:
        folder = farm(tmp_path / "faces", originals, count)
        for found, what in ((cold, "decoded"), (warm, "from the cache")):
            found.append(measure(folder, tmp_path / "cache"))
            say(what, found[-1])
        shutil.rmtree(folder)
        shutil.rmtree(tmp_path / "cache")
    for found in (cold, warm):
        assert [each["images"] for each in found] == SIZES
        assert all(each["removed"] == each["images"] - DIFFERENT // 2 for each in found)
        assert all(each["gigabytes"] < GIGABYTES for each in found)
        for less, more in pairwise(found):
            times, as_many = more["seconds"] / less["seconds"], more["images"] / less["images"]
            slope = 1e6 * (more["seconds"] - less["seconds"]) / (more["images"] - less["images"])
            print(f"{as_many:.0f} times as many take {times:.1f} times as long, {slope:.1f} µs CPU per image")
            assert times < 1.5 * as_many


def test_all_of_fer2013(fer2013, tmp_path):
    for what in ("decoded", "from the cache"):
        found = measure(fer2013, tmp_path / "cache", FER2013_CLASSES)
        say(what, found)
        assert found["images"] == 28_709 and found["gigabytes"] < 1
