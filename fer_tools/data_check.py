"""What is to be said of data before a run: what the notebooks would refuse, and remarks.

A remark is one line on what a reader leaves out, converts or cannot place, with number and place. The same
ones stand on the console, in `fer data verify`, in notebook 01 and, as a metric, in the report.
"""

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from fer_lib.archives import Zip
from fer_lib.data import load
from fer_lib.data.picture import AS_IT_SHOULD_BE, SUFFIXES
from fer_lib.data.readers.archive import MAX_ARCHIVE_BYTES, Archive
from fer_lib.data.readers.csv_file import Csv
from fer_lib.data.readers.source import FER2013_CLASSES, PART_NAMES, ImageFiles, Source, listed
from fer_lib.files import UsageError, printable

# Of programs, and no loss to anybody.
JUNK = {"thumbs.db", "desktop.ini", "__macosx"}
OTHER_PICTURES = (".webp", ".tif", ".tiff", ".gif", ".heic", ".avif", ".jp2", ".pgm", ".ppm", ".npy")
MOST_LOOKED_AT = 2_000_000  # files of a folder
DEEPEST = 20  # folders within each other
MOST_REMARKS = 40
LONGEST = 220  # characters of a remark: all together are a metric
DIFFERENCE = 0.2  # of shares of classes, beyond chance, from which a network may learn the file
MODES = {"L": "grey", "RGB": "colour", "RGBA": "colour with transparency", "LA": "grey with transparency"}
MODES |= {"P": "palette", "1": "black and white"}


def check(settings: Any, drawn: bool = True) -> None:
    """Refuse what the notebooks would refuse of the data, before a run begins, and in the same words.

    What they read is read, and stays in the cache, from which they take it: it costs nothing twice.

    Parameters
    ----------
    settings : as in `fer_lib.data.load.load_split`
    drawn : bool
        Whether the split is drawn, too. A study leaves it out, of which a point may fail.

    Raises
    ------
    UsageError
        If anything is wrong with the data, or if no split can be drawn from them.
    """
    test_data = settings.test_data or settings.data
    load.class_counts(settings.data, settings.classes, "train")  # at first what no image has to be read for
    load.class_counts(test_data, settings.classes, "test")
    for data in (settings.data, test_data):
        load.data_digest(data)  # of all classes
    if drawn:
        load.load_split(settings)
    else:
        load.load_training(settings.data, settings.classes)
        load.pixel_digests_of_test_images(test_data, settings.classes)


def facts(settings: Any) -> dict[str, str]:
    """Return the metrics `data.remarks` and `data.test_part`, in words; see `remarks`."""
    test = load.resolve(settings.test_data or settings.data)
    part = f"those of its folder {test.parts.get('test')}"
    if isinstance(test, Csv):
        part = "its rows PublicTest and PrivateTest together"
    elif not isinstance(test, ImageFiles):
        part = "its part test"
    return {"remarks": "; ".join(remarks(settings)) or "nothing", "test_part": printable(part)}


def remarks(settings: Any) -> list[str]:
    """Say what of the data is left out, converted or in doubt; of settings as in `load.load_split`."""
    test_data = settings.test_data or settings.data
    found = []
    for data in dict.fromkeys((settings.data, test_data)):
        found += left_out(data, settings.classes)
    for data, part in ((settings.data, "train"), (test_data, "test")):
        found += of_pictures(load.kinds(data, settings.classes, part), part)
    return _shortened(found, MOST_REMARKS)


def remarks_of_copy(data: load.Data) -> list[str]:
    """Say the same of a set, whatever classes are used of it."""
    source = load.resolve(data)
    found = left_out(data, FER2013_CLASSES)
    for part in source.parts if isinstance(source, ImageFiles) else ():
        try:
            if len(names := list(source.counts(part))) > 1:
                found += of_pictures(load.kinds(source, names, part), part)
        except UsageError as error:
            found.append(str(error))
    return _shortened(found, MOST_REMARKS)


def _shortened(lines: list[str], most: int) -> list[str]:
    lines = [line if len(line := printable(each)) <= LONGEST else f"{line[:LONGEST]}..." for each in lines]
    return lines[:most] + [f"{len(lines) - most:,} more such remarks"] * (len(lines) > most)


# -- what is left out --------------------------------------------------------------------------------------


def left_out(data: load.Data, classes: Sequence[str]) -> list[str]:
    """Name what lies in a folder or archive and is not used, and classes whose folders have other names."""
    source = load.resolve(data)
    beside = [] if isinstance(data, Source) else _beside(Path(os.path.expanduser(data)), source.path)
    if not isinstance(source, ImageFiles):
        return beside
    used = set()
    for part, folder in source.parts.items():
        for name in source.classes:
            if isinstance(source, Archive):
                used |= {re.sub(r"\\", "/", info.filename) for _, info in source.members(part, name)}
            else:
                used |= {f"{folder}/{name}/{file}" for file, _ in source.members(part, name)}
    files = _members(source) if isinstance(source, Archive) else _files(source.path)
    return [*beside, *_renamed(source, classes), *_unused(files, used)]


def _renamed(source: ImageFiles, classes: Sequence[str]) -> Iterator[str]:
    """Name folders that are read as classes of other names, and those that could be meant as well."""
    for part, place in source.parts.items():
        counts = source.counts(part)
        for name in classes:
            folder = source.folder_of(part, name)
            code = str(FER2013_CLASSES.index(name)) if name in FER2013_CLASSES else name
            if folder != name and folder in counts:
                why = (
                    "FER2013's code, unless the folder means something else"
                    if folder == code
                    else "in other case"
                )
                yield f"{place}/{folder}: {counts[folder]:,} images are read as class {name} ({why})"
            for other, count in counts.items():
                if other not in (folder, *classes) and (other.lower() == name.lower() or other == code):
                    yield f"{place}/{other}: {count:,} images are not used, move them to {place}/{name}"


def _beside(folder: Path, chosen: Path) -> list[str]:
    """Name the folders, pictures and archives in a folder from which one set of data was chosen."""
    if folder == chosen or not folder.is_dir() or folder not in chosen.parents:
        return []
    others = [
        entry.name
        for entry in os.scandir(folder)
        if entry.name != chosen.name and not _is_junk(entry.name) and (entry.is_dir() or _is_data(entry.name))
    ]
    return [f"{folder}: not used beside {chosen.name} are {listed(others)}"] if others else []


def _is_data(name: str) -> bool:
    return name.lower().endswith((*SUFFIXES, *OTHER_PICTURES, ".zip", ".csv"))


def _members(source: Archive) -> Iterator[tuple[str, ...]]:
    with Zip(source.path, MAX_ARCHIVE_BYTES, follow=True) as archive:
        for name in archive.namelist():
            if not name.endswith(("/", "\\")):
                yield tuple(re.split(r"[/\\]", name))


def _files(folder: os.PathLike) -> Iterator[tuple[str, ...]]:
    """Yield the pieces of the paths of all files; links are followed as far as the reader of folders does."""
    waiting: list[tuple[str, ...]] = [()]
    looked_at = 0
    while waiting:
        pieces = waiting.pop()
        try:
            with os.scandir(os.path.join(folder, *pieces)) as entries:
                for entry in entries:
                    looked_at += 1
                    if looked_at > MOST_LOOKED_AT or _is_junk(entry.name):
                        continue
                    if not entry.is_dir(follow_symlinks=len(pieces) < 2):
                        yield (*pieces, entry.name)
                    elif len(pieces) < DEEPEST:
                        waiting.append((*pieces, entry.name))
        except OSError:  # the reader refuses what it needs and cannot read
            continue


def _is_junk(name: str) -> bool:
    """Return whether a file or folder is of a program; a hidden picture is none."""
    hidden = name.startswith(".") and not (name.lower().endswith(SUFFIXES) and not name.startswith("._"))
    return hidden or name.lower() in JUNK


def _unused(files: Iterable[tuple[str, ...]], used: set[str]) -> Iterator[str]:
    """Name the files that are not used, by the outermost folder of which nothing is used."""
    inhabited = {()}
    for folder in {name.rpartition("/")[0] for name in used}:
        pieces = tuple(folder.split("/"))
        inhabited |= {pieces[: i + 1] for i in range(len(pieces))}
    groups: dict[tuple[tuple[str, ...], bool], list[str]] = {}
    for pieces in files:
        if any(map(_is_junk, pieces)) or "/".join(pieces) in used:
            continue
        whole = next((pieces[:i] for i in range(len(pieces)) if pieces[:i] not in inhabited), None)
        if len(pieces) == 1 and not _is_data(pieces[0]):
            continue  # a licence or a note beside the parts
        groups.setdefault((whole or pieces[:-1], whole is not None), []).append(pieces[-1])
    for (folder, whole), names in sorted(groups.items()):
        yield _not_used("/".join(folder) or ".", names, whole)


def _not_used(place: str, names: list[str], whole: bool) -> str:
    pictures = sum(name.lower().endswith((*SUFFIXES, *OTHER_PICTURES)) for name in names)
    kind = "image" if pictures == len(names) else "file"
    said = f"{len(names):,} {kind}{'s are' if len(names) > 1 else ' is'} not used"
    others = Counter(os.path.splitext(name)[1].lower() for name in names)
    strange = [suffix or "without suffix" for suffix in others if suffix not in SUFFIXES]
    if strange:
        said += f" ({listed(strange)}: only JPEG, PNG and BMP are read)"
    elif whole and place.lower() in PART_NAMES:
        said += " (another folder is the test part)"
    elif whole:
        said += " (images are looked for in train/<class>/ and test/<class>/)"
    return f"{place}: {said}"


# -- what the pictures are ---------------------------------------------------------------------------------


def of_pictures(kinds: Mapping[str, Counter[str]], part: str) -> list[str]:
    """Say which images of a part are converted, show nothing, or can be told by their file.

    Parameters
    ----------
    kinds : dict of str to Counter
        Of `fer_lib.data.load.kinds`.
    part : str
    """
    files = {name: Counter({k: n for k, n in c.items() if k != "flat"}) for name, c in kinds.items()}
    found = []
    for name, counted in files.items():
        changed = Counter({kind: n for kind, n in counted.items() if not kind.endswith(AS_IT_SHOULD_BE)})
        if changed:
            count = f"{changed.total():,} of {counted.total():,} images"
            found.append(f"{part}/{name}: {count} are converted ({_in_words(changed)})")
    if flat := {name: counted["flat"] for name, counted in kinds.items() if counted["flat"]}:
        count = sum(flat.values())
        by_class = ", ".join(f"{name} {n:,}" for name, n in flat.items())
        shows = "images show nothing, each" if count > 1 else "image shows nothing,"
        found.append(f"{part}: {count:,} {shows} being of one grey value ({by_class})")
    return [*found, *_differences(files, part)]


def _in_words(kinds: Counter[str]) -> str:
    """Sum up kinds: "120 PNG 96x96 colour, 3 turned upright"."""
    counted, sizes, turned = Counter(), {}, 0
    for kind, count in kinds.items():
        image_format, size, mode, *more = kind.split(" ")
        counted[image_format, mode] += count
        sizes.setdefault((image_format, mode), set()).add(size)
        turned += count * bool(more)
    said = []
    for (image_format, mode), count in counted.most_common():
        (size, *others) = sizes[image_format, mode]
        size = f"of {len(others) + 1:,} sizes" if others else size
        said.append(f"{count:,} {image_format} {size} {_mode(mode)}")
    return ", ".join(said + [f"{turned:,} turned upright"] * bool(turned))


def _mode(mode: str) -> str:
    mode, deep, bits = mode.partition(";16/")
    words = "grey" if mode == "I" else MODES.get(mode, mode)
    if not deep:
        return words
    return f"16-bit {words}" + (f" that holds {bits} bits" if bits != "16" else "")


def _differences(files: Mapping[str, Counter[str]], part: str) -> Iterator[str]:
    """Warn of what tells classes apart without a look at the faces: format, size or mode of the files."""
    totals = {name: counted.total() for name, counted in files.items()}
    if not all(totals.values()):  # of what is no file nothing is known
        return
    beyond = DIFFERENCE + 1.5 / math.sqrt(min(totals.values()))
    for place, what in enumerate(("format", "size", "mode")):
        shares: dict[str, Counter] = {}
        for name, counted in files.items():
            shares[name] = Counter()
            for kind, count in counted.items():
                shares[name][kind.split(" ")[place]] += count / totals[name]
        values = sorted({value for counted in shares.values() for value in counted})
        candidates = ((value, {name: shares[name][value] for name in shares}) for value in values)
        if what == "size":
            candidates = chain(candidates, _smaller_than(shares, values))
        value, found = max(candidates, key=lambda pair: max(pair[1].values()) - min(pair[1].values()))
        high, low = max(found, key=found.get), min(found, key=found.get)
        if found[high] - found[low] > beyond:
            said = f"{_mode(value)}: {found[high]:.0%} of {high}, {found[low]:.0%} of {low}"
            yield f"{part}: warning: the {what} of the files tells classes apart, no face needed ({said})"


def _smaller_than(
    shares: Mapping[str, Counter], sizes: Iterable[str]
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the share of each class that has at most so many pixels, for every number there is."""
    areas = {size: math.prod(map(int, size.split("x"))) for size in sizes}
    sums = dict.fromkeys(shares, 0.0)
    for size in sorted(areas, key=areas.get):
        sums = {name: total + shares[name][size] for name, total in sums.items()}
        yield f"at most {size}", sums
