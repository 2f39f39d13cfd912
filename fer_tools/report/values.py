"""What the text of a report may cite of a run: values, tables and figures."""

import csv
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fer_lib import models
from fer_lib.files import UsageError, read_regular
from fer_tools.json_files import read_json
from fer_tools.report.numbers import clean, words
from fer_tools.run.tree import LARGEST_FILE

MOST_CELLS = 5_000_000  # of all tables; the predictions for half a million images have 3.5
LONGEST = 1_000_000  # characters of all values; a real run has 10 thousand


def read(run_dir: Path) -> dict[str, Any]:
    """Return all that a text may cite of a run.

    Returns
    -------
    dict
        "values": {"metric=test.accuracy": value}, "tables": {"name=counts": {"header": (k,) str, "rows":
        (n, k) str}}, "figures": {name: ""}.

    Raises
    ------
    UsageError
        If a file of the run is missing or broken, or a value is none that can be printed.
    """
    run, metrics = _document(run_dir / "run.json"), _document(run_dir / "metrics.json")
    created = run.get("created")
    if type(created) not in (int, float) or not 0 <= created < 2**32:
        raise UsageError(f'{run_dir / "run.json"}: "created" is {created!r}, not a time in Unix seconds')

    # Stages hold durations and digests, which differ between equal runs: they cannot be cited.
    parts = {key: value for key, value in run.items() if key != "stages"}
    facts = dict(_flatten(parts)) | _model(run)
    values = {f"metric={key}": _plain(value, f"metrics.json: {key}") for key, value in metrics.items()}
    values |= {f"run={key}": _plain(value, f"run.json: {key}") for key, value in facts.items()}
    length = sum(len(key) + len(str(value)) for key, value in values.items())
    if length > LONGEST:
        said = f"{length:,} characters in metrics.json and run.json, more than {LONGEST:,}"
        raise UsageError(f"{run_dir}: {said}; restore them, or run it anew")
    tables = _tables(run_dir / "tables")
    tables |= {f"run={part}": _table(part, values) for part in parts if isinstance(parts[part], dict)}
    svg, pdf = ({path.stem for path in (run_dir / "figures").glob(f"*.{kind}")} for kind in ("svg", "pdf"))
    return {"values": values, "tables": tables, "figures": dict.fromkeys(sorted(svg & pdf), "")}


def _tables(folder: Path) -> dict[str, Any]:
    tables, cells = {}, 0
    for path in sorted(folder.glob("*.csv")):
        table = tables[f"name={path.stem}"] = _read_table(path)
        cells += len(table["header"]) * (1 + len(table["rows"]))
        if cells > MOST_CELLS:
            raise UsageError(f"{folder}: tables of more than {MOST_CELLS:,} cells; remove what is foreign")
    return tables


def _table(part: str, values: dict[str, Any]) -> dict[str, list]:
    """Return the table of a part of run.json, name by name."""
    within = {key: value for key, value in sorted(values.items()) if key.startswith(f"run={part}.")}
    rows = [[clean(key.removeprefix(f"run={part}.")), words(value)] for key, value in within.items()]
    return {"header": ["name", "value"], "rows": rows}


def _document(path: Path) -> dict[str, Any]:
    if not os.path.lexists(path):
        raise UsageError(
            f"{path.parent}: no {path.name}; give the directory of a finished run (see `fer list`)"
        )
    content = read_json(path)
    if not isinstance(content, dict):
        raise UsageError(f"{path}: not a JSON object; restore it or run it anew")
    return content


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
        yield prefix, ", ".join(words(item) for item in value)
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


def _read_table(path: Path) -> dict[str, list]:
    try:
        content = io.StringIO(read_regular(path, LARGEST_FILE).decode(), newline="")
        lines, cells = [], 0
        for line in filter(None, csv.reader(content, strict=True)):
            cells += len(line)
            if cells > MOST_CELLS:
                raise UsageError(f"{path}: more than {MOST_CELLS:,} cells; run its notebook again")
            lines.append([clean(cell) for cell in line])
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
