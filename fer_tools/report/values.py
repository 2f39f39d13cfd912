"""TODO"""

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fer_lib import models
from fer_lib.files import UsageError, read_json


def read(run_dir: Path) -> dict[str, Any]:
    """Return all that the text may cite: values by citation, figures, tables by citation."""
    for name in ("run.json", "metrics.json"):
        if not (run_dir / name).is_file():
            raise UsageError(f"{run_dir}: no {name}; give the directory of a finished run (see `fer list`)")
    metrics, run = read_json(run_dir / "metrics.json"), read_json(run_dir / "run.json")
    for name, content in (("metrics.json", metrics), ("run.json", run)):
        if not isinstance(content, dict):
            raise UsageError(f"{run_dir / name}: not a JSON object; restore it or run it anew")
    created = run.get("created")
    if type(created) not in (int, float) or not 0 <= created < 2**32:
        raise UsageError(f'{run_dir / "run.json"}: "created" is {created!r}, not a time in Unix seconds')

    # Stages hold durations and digests, which differ between equal runs: they cannot be cited.
    facts = dict(_flatten({key: value for key, value in run.items() if key != "stages"})) | _model(run)
    values = {f"metric={key}": _plain(value, f"metrics.json: {key}") for key, value in metrics.items()}
    values |= {f"run={key}": _plain(value, f"run.json: {key}") for key, value in facts.items()}

    tables = {f"name={path.stem}": _read_table(path) for path in sorted((run_dir / "tables").glob("*.csv"))}
    for part in (key for key, value in run.items() if isinstance(value, dict) and key != "stages"):
        rows = [[key.removeprefix(f"{part}."), key] for key in sorted(facts) if key.startswith(f"{part}.")]
        cells = [[clean(name), _text(values[f"run={key}"])] for name, key in rows]
        tables[f"run={part}"] = {"header": ["name", "value"], "rows": cells}

    figures = run_dir / "figures"
    names = {path.stem for path in figures.glob("*.svg")} & {path.stem for path in figures.glob("*.pdf")}
    return {"values": values, "tables": tables, "figures": {name: "" for name in sorted(names)}}


def _model(run: dict[str, Any]) -> dict[str, str]:
    """Name the network as its module does, the model by its digest, and its file without the time."""
    try:
        titles = models.title(run["parameters"]["training"]["model"])
    except (KeyError, TypeError, UsageError):  # not trained yet, or a network that is no more
        titles = {"section": "Section 5", "title": "Network"}
    facts = {f"model.{key}": text for key, text in titles.items()}
    if isinstance(file := run.get("model_file"), str):
        facts["model.file"] = re.sub(r"_timestamp_\d+\.keras$", "_timestamp_<unix time>.keras", file)
    try:
        facts["model.sha256"] = str(run["stages"]["overfitting"]["outputs"]["model.keras"])
    except (KeyError, TypeError):  # not chosen yet: who cites it is told
        pass
    return facts


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ("parameters.training.epochs", 50), ...; a list of single values becomes one text."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list):
        yield prefix, ", ".join(_text(item) for item in value)
    else:
        yield prefix, value


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) < 1e300:  # NaN too
        raise UsageError(f"{where} is {str(value)[:40]}, which no report can state; run that stage again")
    if value is not None and not isinstance(value, bool | int | float):
        raise UsageError(f"{where} is not a number, text, true, false or null; run that stage again")
    return value


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:.6g}" if isinstance(value, float) and math.isfinite(value) else clean(str(value))


def clean(text: str) -> str:
    """Blanks become one blank; control and direction characters, which no page can show, become U+FFFD."""
    keep = "\u200c\u200d"  # joiners within words and emoji
    return " ".join(
        "".join(c if c.isspace() or c.isprintable() or c in keep else "\ufffd" for c in text).split()
    )


def _read_table(path: Path) -> dict[str, list]:
    try:
        with open(path, encoding="utf-8", newline="") as handle:
            lines = [[clean(cell) for cell in line] for line in csv.reader(handle, strict=True) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read as CSV ({error}); run its notebook again") from error
    if not lines:
        raise UsageError(f"{path}: an empty table; run its notebook again")
    for number, line in enumerate(lines, 1):
        if len(line) != len(lines[0]):
            raise UsageError(
                f"{path}: row {number} has {len(line)} cells, the header {len(lines[0])}; "
                "run its notebook again"
            )
    return {"header": lines[0], "rows": lines[1:]}
