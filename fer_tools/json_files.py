"""JSON files: written whole, read with bounds."""

import json
from pathlib import Path
from typing import Any

from fer_lib.files import MEGABYTE, UsageError, read_regular, sha256_of, write_text

LARGEST_JSON = 8 * MEGABYTE  # run.json of 10,000 epochs has 1.1


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON with sorted keys, so that equal values give equal bytes.

    Raises
    ------
    UsageError
        If a number is not finite, a text is no Unicode, or as in `atomic_path`.
    """
    try:
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError as error:
        raise UsageError(f"{path}: cannot hold what it should say ({error})") from error
    write_text(path, text + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file of somebody else's; see `open_regular`.

    Raises
    ------
    UsageError
        If the file is missing, unreadable, a link, beyond reason or not JSON.
    """
    content = read_regular(path, LARGEST_JSON)
    try:
        return json.loads(content.decode())  # text mode takes a third longer; `fer list` feels it
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid JSON ({error}); restore it or run it anew") from error


def sha256_of_json(value: Any) -> str:
    """SHA-256 (hexadecimal) of a value that JSON can hold; the order of keys does not matter."""
    return sha256_of(json.dumps(value, sort_keys=True))
