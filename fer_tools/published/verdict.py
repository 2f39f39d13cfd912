"""Is this copy of FER2013 the published one? Comparison with published digests; no TensorFlow.

Published is the image folder `msambare/fer2013`; `fer2013.digests.json` holds, by usage and class, the number
of its files and a digest of their names and bytes. Copies that were equalised, blurred, rotated or split
differently look alike and train differently; this module tells them apart. A class that is not as published
is compared image by image (`published_images`): what was altered, is missing or foreign has a name.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fer_lib.data import load
from fer_lib.data.load import Data
from fer_lib.data.readers.csv_file import Csv
from fer_lib.data.readers.source import FER2013_CLASSES, PART_OF, ImageFiles, Source, files_digest
from fer_lib.files import UsageError, read_json
from fer_tools.published import images as published_images
from fer_tools.published.images import DEVIATIONS, KINDS, Found

DIGESTS = Path(__file__).with_name("fer2013.digests.json")
# Of the two CSVs of the Kaggle challenge, as `torchvision.datasets.FER2013` checks them. MD5 is enough
# against accidents, not against somebody who forges a file on purpose.
CSV_MD5 = {
    "f8428a1edbd21e88f42c73edd2a14f95": "fer2013.csv",
    "b114b9e04e6949e5fe8b6a98b3892b1d": "icml_face_data.csv",
}
Key = tuple[str, str]  # usage and class


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
    rows: list[dict[str, str | int]]
    files: dict[str, list[str]] = field(default_factory=dict)


def judge(data: Data) -> Verdict:
    """Compare a copy with the published digests; every byte is read again, no cache is trusted.

    Raises
    ------
    UsageError
        If there are no data, or a file cannot be read.
    """
    source = load.resolve(data)
    if source.kind == "bundled":
        return _bundled(source)
    expected = {
        (usage, name): entry for usage, group in read_json(DIGESTS).items() for name, entry in group.items()
    }
    return _csv(source, expected) if isinstance(source, Csv) else _image_files(source, expected)


def _bundled(source: Source) -> Verdict:
    try:
        counts = {part: source.counts(part) for part in source.parts}
    except UsageError as error:
        return Verdict("altered", str(error), [])
    rows = [
        {"usage": part, "class": name, "expected": count, "found": count, "state": "authentic"}
        for part, group in counts.items()
        for name, count in group.items()
    ]
    total = sum(row["found"] for row in rows)
    return Verdict("authentic", f"All {total:,} bundled faces are as committed.", rows)


def _places(rows: Iterable[dict], between: str = "; ") -> str:
    """Name the groups of rows: "Training (happy, sad); PrivateTest (all classes)"."""
    by_usage = defaultdict(list)
    for row in rows:
        by_usage[row["usage"]].append(row["class"])
    return between.join(
        f"{usage} ({'all classes' if len(names) == len(FER2013_CLASSES) else ', '.join(names)})"
        for usage, names in by_usage.items()
    )


def _lacks(rows: list[dict]) -> str:
    """Name the groups that are missing or incomplete; empty where there are none."""
    lacking = [row for row in rows if row.get("missing", row["found"] < row["expected"])]
    missing = [row for row in lacking if not row["found"]]
    incomplete = [row for row in lacking if row["found"]]
    named = {"missing": missing, "incomplete": incomplete}
    return " and ".join(f"{state}: {_places(those)}" for state, those in named.items() if those)


def _whole(found: list[Found], expected: dict[Key, dict]) -> set[Key]:
    """Return the groups that are there in full, as published: by all bytes of all digests."""
    lines: dict[Key, list[str]] = defaultdict(list)
    for file in found:
        if file.in_its_part:
            lines[file.usage, file.label].append(f"{file.name} {file.sha256}\n")
    return {key for key, entry in expected.items() if files_digest(lines[key]) == entry["sha256"]}


def _compare(source: ImageFiles, found: list[Found], expected: dict[Key, dict]) -> tuple[list, dict, int]:
    """Return the rows and files of a verdict, and how many images lie in another part than published."""
    whole = _whole(found, expected)
    counts = defaultdict(Counter, {key: Counter({"as published": expected[key]["count"]}) for key in whole})
    unclear = [file for file in found if not file.in_its_part or (file.usage, file.label) not in whole]
    table = published_images.read() if unclear else published_images.Table()
    identified = [(file, *table.identify(file)) for file in unclear]
    files: dict[str, list[str]] = defaultdict(list)
    moved = 0
    for file, kind, images in identified:
        counts[images[0].usage if kind == "renamed" else file.usage, file.label][kind] += 1
        if kind != "as published":
            files[kind].append(source.where(file.part, file.label, file.name))
        parts = {PART_OF[image.usage] for image in images} or {PART_OF.get(file.usage, file.part)}
        moved += kind != "foreign" and file.part not in parts
    there = set(counts)
    for image in table.missing(((file, images) for file, _, images in identified), whole):
        counts[image.usage, image.label]["missing"] += 1
        if (image.usage, image.label) in there:
            files["missing"].append(f"{PART_OF[image.usage]}/{image.label}/{image.stem}.jpg")
    rows = []
    for key in (*expected, *sorted(counts.keys() - expected.keys())):
        wanted = expected[key]["count"] if key in expected else 0
        kinds = {kind: counts[key][kind] for kind in KINDS}
        count = sum(kinds.values()) - kinds["missing"]
        if key[0] not in table.usages:
            kinds["missing"] = max(wanted - count, 0)
        row = {"usage": key[0], "class": key[1], "expected": wanted, "found": count}
        rows.append(row | {"state": _state(row | kinds, key in whole)} | kinds)
    return rows, dict(files), moved


def _state(row: dict, whole: bool) -> str:
    if row["found"] == 0:
        return "missing"
    if any(row[kind] for kind in DEVIATIONS):
        return "altered"
    if row["found"] < row["expected"]:
        return "incomplete"
    return "authentic" if whole else "altered"


def _deviations(rows: list[dict]) -> list[str]:
    """Say by kind how many images of how many are not as published, and where."""
    said = []
    for kind in ("altered", "misplaced", "renamed"):
        if those := [row for row in rows if row[kind]]:
            count, found = (sum(row[column] for row in those) for column in (kind, "found"))
            said.append(f"{kind}: {_places(those, ' and ')}, {count:,} of {found:,} images")
    altered = [row for row in rows if row["state"] == "altered"]
    if by_class := [row for row in altered if not any(row[kind] for kind in DEVIATIONS)]:
        said.append(f"altered: {_places(by_class, ' and ')}, by the digest of the whole class")
    if foreign := sum(row["foreign"] for row in rows):
        said.append(f"{foreign:,} images that FER2013 does not have")
        in_test = sum(row["foreign"] for row in rows if row["usage"] == "test")
        if in_test and any(row["renamed"] for row in rows):
            said[-1] += f" ({in_test:,} in test may be PrivateTest's, which has no digests image by image)"
    return said


def _image_files(source: ImageFiles, expected: dict[Key, dict]) -> Verdict:
    found = [
        Found(part, label, name, sha256)
        for part in source.parts
        for label in source.classes
        for name, sha256 in source.hashes(part, label)
    ]
    rows, files, moved = _compare(source, found, expected)
    kinds = {kind: sum(row[kind] for row in rows) for kind in KINDS}
    deviations, lacks, labels = _deviations(rows), _lacks(rows), {file.label for file in found}

    def verdict(status: str, detail: str) -> Verdict:
        return Verdict(status, detail, rows, files)

    validation = source.parts.get("test") == "validation" and not labels.isdisjoint(FER2013_CLASSES)
    if validation or moved:
        parts = Counter(file.part for file in found)
        how = f"train and validation ({parts['train']:,} and {parts['test']:,} images), no test"
        if moved:
            how = f"{moved:,} images lie in another part than published"
        how = "; ".join([how, *(said for said in deviations if said.startswith("altered"))])
        return verdict("another split", f"Not the published split of FER2013: {how}.")
    if kinds["foreign"] == len(found):
        published: Counter[Key] = Counter()
        for (usage, label), entry in expected.items():
            published[PART_OF[usage], label] += entry["count"]
        if Counter((file.part, file.label) for file in found) == published:
            detail = "The counts are FER2013's, but no name and no content is: nothing can be compared."
            return verdict("unverified", detail)
        return verdict("not FER2013", "No image is FER2013's, neither by its name nor by its bytes.")
    if deviations:
        return verdict("altered", f"Not as published; {'; '.join(filter(None, [*deviations, lacks]))}.")
    if not lacks:
        detail = f"All {len(found):,} images are FER2013's as published, byte for byte."
        return verdict("authentic", detail)
    if not kinds["as published"]:
        detail = f"File names are FER2013's, but no class is complete and none can be compared; {lacks}."
        return verdict("unverified", detail)
    if kinds["not compared"]:
        lacks += f"; {kinds['not compared']:,} images could not be compared, their classes being incomplete"
    detail = f"{kinds['as published']:,} images are FER2013's as published, byte for byte; {lacks}."
    return verdict("partial", detail)


def _csv(source: Csv, expected: dict[Key, dict]) -> Verdict:
    with open(source.path, "rb") as handle:
        md5 = hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    rows = []
    for (usage, label), entry in expected.items():
        count, wanted = source.usage_counts[usage][label], entry["count"]
        state = "count agrees" if count == wanted else "altered" if count > wanted else "incomplete"
        state = "authentic" if md5 in CSV_MD5 else state if count else "missing"
        rows.append({"usage": usage, "class": label, "expected": wanted, "found": count, "state": state})
    if md5 in CSV_MD5:
        detail = f"The file is {CSV_MD5[md5]} of the challenge: its MD5 is the published one."
        return Verdict("authentic", detail, rows)
    if more := [row for row in rows if row["state"] == "altered"]:
        detail = f"Not as published; more images than FER2013 has: {_places(more)}."
        return Verdict("altered", detail, rows)
    why = "pixels cannot be compared: the published digests are of JPEG files, and the CSV's MD5 is unknown"
    if lacks := _lacks(rows):
        return Verdict("unverified", f"A part of the counts is FER2013's, {lacks}; {why}.", rows)
    return Verdict("unverified", f"The counts of all classes are FER2013's; {why}.", rows)
