"""A diagnosis as a short page for a terminal: what is wrong and what to change, then what is known."""

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from fer_lib.data.faces import DEFAULT_CLASSES
from fer_lib.files import columns

WIDTH = 100  # characters


def page(found: Mapping[str, Any]) -> list[str]:
    """Return the lines of a diagnosis of a file that was not refused."""
    count = len(found["findings"])
    head = "nothing to change" if not count else f"{count} finding{'s' if count > 1 else ''}"
    lines = [f"{found['file']['name']}: {head}"]
    for each in found["findings"]:
        lines += ["", *_wrapped(each["text"], "! "), *_wrapped(each["advice"], "  change: ")]
    lines.append("")
    for name, text in _facts(found):
        lines += _wrapped(text, f"{name:<11} ")
    if found["test"]:
        lines += ["", *_confusion(found["test"]["confusion"])]
    return lines


def _wrapped(text: str, start: str) -> list[str]:
    indent = " " * len(start)
    options = {"break_long_words": False, "break_on_hyphens": False}
    whole = re.sub("`[^`]*`", lambda code: code[0].replace(" ", "\0"), text)  # code stays on its line
    lines = textwrap.wrap(whole, WIDTH, initial_indent=start, subsequent_indent=indent, **options)
    return [line.replace("\0", " ") for line in lines]


def _facts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    container, shape, output = found["container"], found["input"], found["output"]
    kind = {"hdf5": "HDF5"}.get(container["kind"], container["kind"])
    version = f", Keras {container['keras']}" if container["keras"] else ""
    yield "file", f"{found['file']['bytes']:,} bytes, {'; '.join([kind + version, *container['notes']])}"
    yield (
        "network",
        f"{found['parameters']:,} parameters of {found['limit']:,}, {len(found['layers'])} layers, from "
        f"{'x'.join(str(side) for side in shape.values())} to {output['classes']}, "
        f"{output['activation'] or 'no activation'}",
    )
    yield "reading", found["reading"]["sentence"]
    if test := found["test"]:
        without = (
            f"; {test['accuracy_without_twins']:.1%} of the {test['images_without_twins']:,} that have no "
            "twin in training"
            if test["accuracy_without_twins"] is not None
            else ""
        )
        yield (
            "test",
            f"{test['accuracy']:.1%} ({test['low']:.1%} to {test['high']:.1%}) of {test['images']:,} images "
            f"right{without}",
        )
        if test["loss"] is not None:
            yield (
                "confidence",
                f"{test['mean_confidence']:.1%} on average, off by {test['calibration_error']:.1%} "
                f"(calibration error); loss {test['loss']:.3f}",
            )
        order = ", ".join(DEFAULT_CLASSES)
        yield "as the game", f"{test['as_the_game']:.1%}, where its outputs are taken for {order}"
    if game := found["game"]:
        yield "game", f"{game['file']}: {game['sentence']}"
    yield "images", found["data"]


def _confusion(matrix: list[list[int]]) -> list[str]:
    rows = [("true \\ said", *DEFAULT_CLASSES)]
    rows += [(name, *map("{:,}".format, row)) for name, row in zip(DEFAULT_CLASSES, matrix, strict=True)]
    return columns(rows, "<" + ">" * len(matrix))
