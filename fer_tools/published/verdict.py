"""Is this copy of FER2013 the published one? Comparison with published digests; no TensorFlow.

Published is the image folder `msambare/fer2013`; `fer2013.digests.json` holds, by usage and class, the number
of its files and a digest of their names and bytes. Copies that were equalised, blurred, rotated or split
differently look alike and train differently; this module tells them apart. A class that is not as published
is compared image by image (`images.Table`): what was altered, is missing or foreign has a name.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from fer_lib.data.load import Data, resolve
from fer_lib.data.readers import csv_file
from fer_lib.data.readers.csv_file import Csv
from fer_lib.data.readers.source import (
    FER2013_CLASSES,
    PART_OF,
    PARTS,
    ImageFiles,
    Source,
    files_digest,
    listed,
)
from fer_lib.files import UsageError, open_regular
from fer_tools.json_files import read_json
from fer_tools.published.images import DEVIATIONS, KINDS, Image, Table, read_table

DIGESTS = Path(__file__).with_name("fer2013.digests.json")
# Of the two CSVs of the Kaggle challenge, as `torchvision.datasets.FER2013` checks them. MD5 is enough
# against accidents, not against somebody who forges a file on purpose.
CSV_MD5 = {
    "f8428a1edbd21e88f42c73edd2a14f95": "fer2013.csv",
    "b114b9e04e6949e5fe8b6a98b3892b1d": "icml_face_data.csv",
}
Key = tuple[str, str]  # usage and class
Entries = dict[Key, dict]  # see `read_digests`
Row = dict[str, str | int]
Files = dict[str, list[str]]


@dataclass(frozen=True)
class Verdict:
    """What a copy of the data is.

    Attributes
    ----------
    status : str
        "authentic": everything is there, as published. "partial": all that is there is as published, but some
        is missing. "altered": at least one image differs. "another split": the images are divided
        differently. "unverified": nothing there can be compared. "not FER2013".
    detail : str
        One sentence that says why, and which classes.
    rows : list of dict
        By usage and class: `usage`, `class`, `expected` and `found` (images), `state` ("authentic",
        "missing", "incomplete", "altered", "count agrees"). Of an image folder or zip also the counts of
        `KINDS`: found "as published"; "altered" (FER2013's name, other bytes); "misplaced" (in another class
        or part than published); "renamed" (FER2013's bytes under another name); "foreign" (neither name nor
        bytes are FER2013's); "not compared" (PrivateTest's in a class that is not whole as published: they
        have no digests of their own); and "missing" (expected, but nowhere). What belongs to no published
        class has rows of its own at the end, with 0 expected.
    files : dict of str to list of str
        By kind, image files that are not as published; "missing" ones of classes that are there in part.
    """

    status: str
    detail: str
    rows: list[Row]
    files: Files = field(default_factory=dict)


def judge(data: Data) -> Verdict:
    """Compare a copy with the published digests; every byte is read again, no cache is trusted.

    Raises
    ------
    UsageError
        If there are no data, or a file cannot be read.
    """
    source = resolve(data)
    if source.kind == "bundled":
        return _bundled(source)
    return (_csv if isinstance(source, Csv) else _image_files)(source, read_digests())


def read_digests() -> Entries:
    """Return the `count` and the `sha256` (see `files_digest`) of every published group."""
    usages = read_json(DIGESTS).items()
    return {(usage, label): entry for usage, group in usages for label, entry in group.items()}


def md5_of_file(path: str | Path, largest: int) -> str:
    """MD5 (hexadecimal) of the bytes of a file, or of what a link leads to; see `files.open_regular`."""
    with open_regular(path, largest, follow=True) as handle:
        return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def files_of(source: ImageFiles) -> list[Image]:
    """Return all image files of a copy, hashed; of a folder `validation` beside `test`, too.

    Classes that are written otherwise, "Happy" or FER2013's code 3, are the ones that readers take them for.
    """
    found = []
    places = {part: part for part in source.parts} | {other: "test" for other in _validation(source)}
    for place, part in places.items():
        labels = {source.folder_of(place, name): name for name in FER2013_CLASSES}
        for folder in dict.fromkeys([*source.classes, *labels]):
            for name, sha256 in source.hashes(place, folder):
                label = labels.get(folder, folder)
                found.append(Image(part, label, name, sha256, source.where(place, folder, name)))
    return found


def _validation(source: ImageFiles) -> list[str]:
    """Return the names of the folders that hold images for validation beside those for testing."""
    there = {source.parts.get("test")}
    return [
        name
        for name in PARTS["test"]
        if name not in there and any(map(partial(source.members, name), FER2013_CLASSES))
    ]


def whole_groups(found: Iterable[Image], published: Entries) -> set[Key]:
    """Return the groups that are there in full, as published: by all bytes of all digests."""
    lines: dict[Key, list[str]] = defaultdict(list)
    for file in found:
        if file.in_its_part:
            lines[file.usage, file.label].append(f"{file.name} {file.sha256}\n")
    return {key for key, entry in published.items() if files_digest(lines[key]) == entry["sha256"]}


def _row(key: Key, expected: int, found: int, otherwise: str, **kinds: int) -> Row:
    """Return the row of a group; `otherwise` is its state if all is there and nothing known to differ."""
    differs = found > expected or any(kinds.get(kind) for kind in DEVIATIONS)
    state = "altered" if differs else "incomplete" if found < expected else otherwise
    row = {"usage": key[0], "class": key[1], "expected": expected, "found": found}
    return row | {"state": state if found else "missing"} | kinds


def _total(rows: Iterable[Row], column: str) -> int:
    return sum(row[column] for row in rows)


def _places(rows: Iterable[Row], between: str = "; ") -> str:
    """Name the groups of rows: "Training (happy, sad); PrivateTest (all classes)"."""
    by_usage = defaultdict(list)
    for row in rows:
        by_usage[row["usage"]].append(row["class"])
    return between.join(
        f"{usage} ({'all classes' if len(labels) == len(FER2013_CLASSES) else ', '.join(labels)})"
        for usage, labels in by_usage.items()
    )


def _lacks(rows: Iterable[Row]) -> str:
    """Name the groups that are missing or incomplete; empty where there are none."""
    lacking = [row for row in rows if row.get("missing", row["found"] < row["expected"])]
    missing = [row for row in lacking if not row["found"]]
    incomplete = [row for row in lacking if row["found"]]
    named = {"missing": missing, "incomplete": incomplete}
    return " and ".join(f"{state}: {_places(those)}" for state, those in named.items() if those)


def _bundled(source: Source) -> Verdict:
    try:
        counts = {part: source.counts(part) for part in source.parts}
    except UsageError as error:
        return Verdict("altered", str(error), [])
    rows = [_row((part, label), n, n, "authentic") for part in counts for label, n in counts[part].items()]
    return Verdict("authentic", f"All {_total(rows, 'found'):,} bundled faces are as committed.", rows)


def _csv(source: Csv, published: Entries) -> Verdict:
    counts = source.usage_counts  # first, for it refuses at the row what is no CSV of faces
    name = CSV_MD5.get(md5_of_file(source.path, csv_file.LARGEST))
    same = "authentic" if name else "count agrees"
    rows = [_row(key, entry["count"], counts[key[0]][key[1]], same) for key, entry in published.items()]
    if name:
        detail = f"The file is {name} of the challenge: its MD5 is the published one."
        return Verdict("authentic", detail, rows)
    if more := [row for row in rows if row["state"] == "altered"]:
        return Verdict("altered", f"Not as published; more images than FER2013 has: {_places(more)}.", rows)
    agree = "The counts of all classes are FER2013's"
    if lacks := _lacks(rows):
        agree = f"A part of the counts is FER2013's, {lacks}"
    why = "pixels cannot be compared: the published digests are of JPEG files, and the CSV's MD5 is unknown"
    return Verdict("unverified", f"{agree}; {why}.", rows)


def _image_files(source: ImageFiles, published: Entries) -> Verdict:
    if not (found := files_of(source)):
        there = f"No images in train/<class>/ or test/<class>/, but {listed(source.inside('train'))}"
        rows = [_row(key, entry["count"], 0, "missing") for key, entry in published.items()]
        return Verdict("unverified", f"{there}: nothing can be compared; sort them into such folders.", rows)
    rows, files, moved = _compare(source, found, published)
    split = f"{moved:,} images lie in another part than published" if moved else ""
    validation = source.parts.get("test", "test").lower().partition("/")[0] != "test"
    if validation and not moved and any(file.label in FER2013_CLASSES for file in found):
        parts = Counter(file.part for file in found)
        split = f"train and validation ({parts['train']:,} and {parts['test']:,} images), no test"
    return Verdict(*_conclusion(found, rows, split), rows, files)


def _compare(source: ImageFiles, found: list[Image], published: Entries) -> tuple[list[Row], Files, int]:
    """Return the rows and files of a verdict, and how many images lie in another part than published."""
    whole = whole_groups(found, published)
    expected = Counter({key: entry["count"] for key, entry in published.items()})
    unclear = [file for file in found if not file.in_its_part or (file.usage, file.label) not in whole]
    table = read_table() if unclear else Table()
    counts = defaultdict(Counter, {key: Counter({"as published": expected[key]}) for key in whole})
    files, moved = defaultdict(list), 0
    for file in unclear:
        kind, images = table.identify(file)
        counts[images[0].usage if kind == "renamed" else file.usage, file.label][kind] += 1
        if kind != "as published":
            files[kind].append(file.place)
        moved += bool(images) and all(image.part != file.part for image in images)
    there = set(counts)
    for image in table.missing(whole):
        counts[image.usage, image.label]["missing"] += 1
        if (image.usage, image.label) in there:
            files["missing"].append("/".join(image[:3]))
    return _rows(counts, expected, whole, table.uncompared), dict(files), moved


def _rows(counts: dict[Key, Counter], expected: Counter[Key], whole: Set[Key], uncompared: Set) -> list[Row]:
    rows = []
    for key in (*expected, *sorted(counts.keys() - expected.keys())):
        kinds = {kind: counts[key][kind] for kind in KINDS}
        found = sum(kinds.values()) - kinds["missing"]
        if key[0] in uncompared:
            kinds["missing"] = max(expected[key] - found, 0)
        rows.append(_row(key, expected[key], found, "authentic" if key in whole else "altered", **kinds))
    return rows


def _deviations(rows: list[Row]) -> list[str]:
    """Say by kind how many images of how many are not as published, and where."""
    said = []
    for kind in ("altered", "misplaced", "renamed"):
        if those := [row for row in rows if row[kind]]:
            count, found = _total(those, kind), _total(those, "found")
            said.append(f"{kind}: {_places(those, ' and ')}, {count:,} of {found:,} images")
    if by_class := [row for row in rows if row["state"] == "altered" and not any(map(row.get, DEVIATIONS))]:
        said.append(f"altered: {_places(by_class, ' and ')}, by the digest of the whole class")
    if foreign := _total(rows, "foreign"):
        said.append(f"{foreign:,} images that FER2013 does not have")
        in_test = _total((row for row in rows if row["usage"] == "test"), "foreign")
        if in_test and _total(rows, "renamed"):
            said[-1] += f" ({in_test:,} in test may be PrivateTest's, which has no digests image by image)"
    return said


def _conclusion(found: list[Image], rows: list[Row], split: str) -> tuple[str, str]:
    """Return the status and the detail of a verdict; `split` says how the copy is split otherwise."""
    deviations, lacks = _deviations(rows), _lacks(rows)
    if split:
        how = "; ".join([split, *(said for said in deviations if said.startswith("altered"))])
        return "another split", f"Not the published split of FER2013: {how}."
    if _total(rows, "foreign") == len(found):
        places = [(PART_OF[row["usage"]], row["class"]) for row in rows for _ in range(row["expected"])]
        if Counter((file.part, file.label) for file in found) != Counter(places):
            return "not FER2013", "No image is FER2013's, neither by its name nor by its bytes."
        detail = "The counts are FER2013's, but no name and no content is: nothing can be compared."
        return "unverified", detail
    if deviations:
        return "altered", f"Not as published; {'; '.join(filter(None, [*deviations, lacks]))}."
    same, uncompared = _total(rows, "as published"), _total(rows, "not compared")
    if not lacks:
        return "authentic", f"All {same:,} images are FER2013's as published, byte for byte."
    if not same:
        detail = f"File names are FER2013's, but no class is complete and none can be compared; {lacks}."
        return "unverified", detail
    if uncompared:
        lacks += f"; {uncompared:,} images could not be compared, their classes being incomplete"
    return "partial", f"{same:,} images are FER2013's as published, byte for byte; {lacks}."
