"""Is this copy of FER2013 the published one? Comparison with published digests; no TensorFlow.

`data/fer2013.digests.json` holds, by usage and class of the `msambare/fer2013` image folder, the number of
files and a digest of their names and bytes. Copies that were equalised, blurred, rotated or split differently
look alike and train differently; this module tells them apart.
"""

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass

from fer_lib.data import load
from fer_lib.data.load import Data
from fer_lib.data.readers.csv_file import Csv
from fer_lib.data.readers.source import FER2013_CLASSES, PART_OF, Source, files_digest
from fer_lib.files import ROOT, UsageError, read_json

DIGESTS = ROOT / "data" / "fer2013.digests.json"
# Of the two CSVs of the Kaggle challenge, as `torchvision.datasets.FER2013` checks them. MD5 is enough
# against accidents, not against somebody who forges a file on purpose.
CSV_MD5 = {
    "f8428a1edbd21e88f42c73edd2a14f95": "fer2013.csv",
    "b114b9e04e6949e5fe8b6a98b3892b1d": "icml_face_data.csv",
}


@dataclass(frozen=True)
class Verdict:
    """What a copy of the data is.

    Attributes
    ----------
    status : str
        "authentic": everything is there, as published. "partial": what is there in full is as published, but
        some is missing. "altered": at least one class differs. "another split": the images are divided
        differently. "unverified": nothing there can be compared. "not FER2013".
    detail : str
        One sentence that says why, and which classes.
    rows : list of dict
        By usage and class: `usage`, `class`, `expected` and `found` (images), `state` ("authentic",
        "missing", "incomplete", "altered", "count agrees").
    """

    status: str
    detail: str
    rows: list[dict[str, str | int]]


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
    return _csv(source, expected) if isinstance(source, Csv) else _files(source, expected)


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


def _rows(expected: dict, found: dict[tuple[str, str], int], digests: dict | None) -> list[dict]:
    rows = []
    for key, entry in expected.items():
        count = found.get(key, 0)
        if count == 0:
            state = "missing"
        elif count < entry["count"]:
            state = "incomplete"
        elif digests is None and count == entry["count"]:
            state = "count agrees"
        else:
            state = "authentic" if digests and digests[key] == entry["sha256"] else "altered"
        rows.append(
            {"usage": key[0], "class": key[1], "expected": entry["count"], "found": count, "state": state}
        )
    return rows


def _lines(rows: list[dict], state: str) -> str:
    """Name the groups in a state: "Training happy, PrivateTest (all classes)"."""
    by_usage = defaultdict(list)
    for row in rows:
        if row["state"] == state:
            by_usage[row["usage"]].append(row["class"])
    return "; ".join(
        f"{usage} ({'all classes' if len(names) == len(FER2013_CLASSES) else ', '.join(names)})"
        for usage, names in by_usage.items()
    )


def _files(source: Source, expected: dict) -> Verdict:
    lines: dict[tuple[str, str], list[str]] = defaultdict(list)
    foreign: Counter[tuple[str, str]] = Counter()  # file names that are not <usage>_<id>
    divided: Counter[str] = Counter()
    moved = 0
    for part in source.parts:
        for name in FER2013_CLASSES:
            for file, digest in source.hashes(part, name):
                divided[part] += 1
                usage = file.partition("_")[0]
                if usage not in PART_OF:
                    foreign[part, name] += 1
                else:
                    moved += PART_OF[usage] != part
                    lines[usage, name].append(f"{file} {digest}\n")
    counts = {key: len(group) for key, group in lines.items()}
    rows = _rows(expected, counts, {key: files_digest(group) for key, group in lines.items()})
    states = Counter(row["state"] for row in rows)
    total, strange = sum(counts.values()), sum(foreign.values())
    if source.parts.get("test") == "validation" or moved:
        how = f"train and validation ({divided['train']:,} and {divided['test']:,} images), no test"
        if moved:
            how = f"{moved:,} images lie in another part than their names say"
        return Verdict("another split", f"Not the published split of FER2013: {how}.", rows)
    if not total:
        published = Counter()
        for (usage, name), entry in expected.items():
            published[PART_OF[usage], name] += entry["count"]
        if foreign == published:
            detail = "The counts are FER2013's, but the files were renamed, so that nothing can be compared."
            return Verdict("unverified", detail, rows)
        detail = "No file name is one of FER2013's (Training_<id>, PublicTest_<id>, PrivateTest_<id>)."
        return Verdict("not FER2013", detail, rows)
    if states["altered"] or strange:
        reasons = [f"altered: {_lines(rows, 'altered')}"] if states["altered"] else []
        reasons += [f"{strange:,} images that FER2013 does not have"] if strange else []
        return Verdict("altered", f"Not as published; {'; '.join(reasons)}.", rows)
    if states["authentic"] == len(rows):
        return Verdict("authentic", f"All {total:,} images are FER2013's as published, byte for byte.", rows)
    lacks = " and ".join(
        f"{state}: {_lines(rows, state)}" for state in ("missing", "incomplete") if states[state]
    )
    if not states["authentic"]:
        detail = f"File names are FER2013's, but no class is complete and none can be compared; {lacks}."
        return Verdict("unverified", detail, rows)
    same = sum(row["found"] for row in rows if row["state"] == "authentic")
    return Verdict("partial", f"{same:,} images are FER2013's as published, byte for byte; {lacks}.", rows)


def _csv(source: Csv, expected: dict) -> Verdict:
    with open(source.path, "rb") as handle:
        md5 = hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    counts = {(usage, name): n for usage, group in source.usage_counts.items() for name, n in group.items()}
    rows = _rows(expected, counts, None)
    states = Counter(row["state"] for row in rows)
    if md5 in CSV_MD5:
        rows = [row | {"state": "authentic"} for row in rows]
        detail = f"The file is {CSV_MD5[md5]} of the challenge: its MD5 is the published one."
        return Verdict("authentic", detail, rows)
    if states["altered"]:
        detail = f"Not as published; more images than FER2013 has: {_lines(rows, 'altered')}."
        return Verdict("altered", detail, rows)
    why = "pixels cannot be compared: the published digests are of JPEG files, and the CSV's MD5 is unknown"
    if states["count agrees"] == len(rows):
        return Verdict("unverified", f"The counts of all classes are FER2013's; {why}.", rows)
    lacks = " and ".join(
        f"{state}: {_lines(rows, state)}" for state in ("missing", "incomplete") if states[state]
    )
    return Verdict("unverified", f"A part of the counts is FER2013's, {lacks}; {why}.", rows)
