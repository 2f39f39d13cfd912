"""How a report prints numbers, texts and tables: the one place where its numbers are rounded."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from fer_lib.files import UsageError, printable

MOST_SHOWN = 20_000  # cells of a table; a thousand classes have 10 thousand in the one of them
_CITED = re.compile(r"""fmt=(?:"([^"]*)"|'([^']*)'|([^\s}]+))""")
_FORMAT = re.compile(r"\+?,?(?:d?|(?:\.\d{1,2})?[fg%])", re.ASCII)
_DATE = re.compile(r"(?:[^%]|%[aAbBcCdDeFgGhHIjmMnprRStTuUVwWxXyYzZ%])+")  # those of C99
_LENGTH = re.compile(r"(\.\d{1,6})?", re.ASCII)
_CELL = re.compile(r"[+-]?\d[\d,]*\.?\d*%?|-?\d\.?\d*e[+-]?\d+", re.ASCII)
_WORDS = {None: "none", True: "yes", False: "no", "True": "yes", "False": "no"}


def prepared(data: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return values and tables in every format that a text asks for.

    Parameters
    ----------
    data : dict
        Of `fer_tools.report.values.read`.
    text : str
        Of the report, in Markdown. Tables of which it does not have the name are left out.

    Returns
    -------
    dict
        "values": {citation: {format: text}}, "tables": {citation: {format: columns}}. The format "" is none;
        {"refused": message} takes the place of what a format does not suit.
    """
    # In the text's YAML, quotation marks may have a backslash before them.
    formats = {"", *("".join(found) for found in _CITED.findall(text.replace("\\", "")))}

    def forms(make: Callable[[Any, str], Any], given: Any) -> dict[str, Any]:
        return {fmt: _or_refusal(make, given, fmt) for fmt in sorted(formats)}

    named = {key: table for key, table in data["tables"].items() if key.partition("=")[2] in text}
    for key, table in named.items():
        if len(table["header"]) * len(table["rows"]) > MOST_SHOWN:
            raise UsageError(f"table {key}: more than {MOST_SHOWN:,} cells, which no page can show")
    return {
        "values": {key: forms(printed, value) for key, value in data["values"].items()},
        "tables": {key: forms(columns, table) for key, table in named.items()},
    }


def _or_refusal(make: Callable[[Any, str], Any], given: Any, fmt: str) -> Any:
    try:
        return make(given, fmt)
    except UsageError as error:
        return {"refused": str(error)}


def printed(value: float | str | bool | None, fmt: str = "") -> str:
    """Return a value of metrics.json or run.json in its printed form.

    Parameters
    ----------
    value : number, text, boolean or None
    fmt : str
        For a number as in `number`; for a text ".12", its first 12 characters.

    Raises
    ------
    UsageError
        If the format does not suit the value.
    """
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    if not isinstance(value, str):
        return number(value, fmt)
    if not _LENGTH.fullmatch(fmt):
        raise UsageError(f'fmt="{fmt}" does not suit a text')
    return format(value, fmt)


def number(value: float, fmt: str = "") -> str:
    """Return a number in a format of Python such as ",", ".3f", "+.2f", ",.1f", ".1%" or ".3g".

    Without one, a number has four significant digits if it is not whole. Nought has no sign, and others have
    a minus sign instead of a hyphen. A format that begins with "%", such as "%d %B %Y", takes the
    number for Unix seconds.

    Raises
    ------
    UsageError
        If it is not a format, or the number is no time.
    """
    if fmt.startswith("%"):
        return _date(value, fmt)
    if not _FORMAT.fullmatch(fmt):
        raise UsageError(f'fmt="{fmt}" is not a format')
    if not fmt and value % 1:
        fmt = ".4g"
    if not fmt.endswith(("f", "g", "%")):
        fmt = fmt.rstrip("d") + ("d" if isinstance(value, int) else ".0f")
    text = format(value, fmt)
    return re.sub("^-", "−", text) if re.search("[1-9]", text) else text.lstrip("+-")


def words(value: Any) -> str:
    """Return anything that run.json may hold as a text; a number has at most six significant digits."""
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    return f"{value:.6g}" if isinstance(value, float) and math.isfinite(value) else clean(str(value))


def clean(text: str) -> str:
    """Return somebody else's text fit for a page: one blank between words, nothing that cannot be shown."""
    return " ".join(printable(text).split())


def _date(seconds: float, fmt: str) -> str:
    try:
        if _DATE.fullmatch(fmt):
            return datetime.fromtimestamp(math.floor(seconds), UTC).strftime(fmt)
    except (OverflowError, OSError, ValueError):  # no such year, or no text
        pass
    raise UsageError(f'fmt="{fmt}" is not a format')


def columns(table: Mapping[str, Sequence], fmt: str = "") -> list[dict[str, Any]]:
    """Return the columns of a table as they are shown.

    Columns x, x_low and x_high become one, "x (x_low–x_high)".

    Parameters
    ----------
    table : dict
        "header": (k,) str, "rows": (n, k) str.
    fmt : str
        Format of the numbers, as in `number`. Counts are shown as they are: columns of whole numbers, but
        for those of 0.0 and 1.0 alone, which are shares.

    Returns
    -------
    list of dict
        "title" (str), "cells": (n,) str, and whether all of them are "numeric" or empty (bool).
    """
    given = [(title, [row[c] for row in table["rows"]]) for c, title in enumerate(table["header"])]
    texts = dict(given)
    ends = {title: (f"{title}_low", f"{title}_high") for title in texts}
    ends = {title: pair for title, pair in ends.items() if texts.keys() >= set(pair)}
    hidden = {end for pair in ends.values() for end in pair}
    return [
        _column(title, cells, fmt, [texts[end] for end in ends.get(title, ())])
        for title, cells in given
        if title not in hidden
    ]


def _column(title: str, texts: list[str], fmt: str, ends: list[list[str]]) -> dict[str, Any]:
    numeric = bool(texts) and all(not text or _CELL.fullmatch(text) for text in texts)
    fmt = _format([*texts, *chain(*ends)], fmt) if numeric else fmt
    cells = [_cell(text, fmt) if numeric else _WORDS.get(text, text) for text in texts]
    if numeric and ends:
        cells = [
            f"{cell}\u00a0({_cell(low, fmt).removesuffix('%')}–{_cell(high, fmt)})" if cell else ""
            for cell, low, high in zip(cells, *ends, strict=True)
        ]
    title = title.replace("_", " ")
    return {"title": title[:1].upper() + title[1:], "cells": cells, "numeric": numeric}


def _format(texts: Sequence[str], fmt: str) -> str:
    """Return the one format of a column and the ends of its intervals; none suits counts.

    So 1.0 is "100.0%" where 0.992 is "99.2%". A column of whole numbers may be of counts, or of shares that
    happen to be all or nothing: these are written with a point, and never beyond one. What has been rounded
    for its readers, all cells to as many decimals, is not rounded again.
    """
    values = [value for text in texts if math.isfinite(value := _value(text))]
    whole = all(value % 1 == 0 for value in values)
    if fmt:
        shares = any("." in text for text in texts) and all(abs(value) <= 1 for value in values)
        return "" if whole and not shares else fmt
    decimals = {len(text.partition(".")[2]) for text in texts if text}
    return f",.{decimals.pop()}f" if not whole and decimals <= {1, 2, 3} and len(decimals) == 1 else ""


def _value(text: str) -> float:
    """Return the number that a cell holds; infinity where it holds none, or one with its unit."""
    return float(text.replace(",", "")) if _CELL.fullmatch(text) and not text.endswith("%") else math.inf


def _cell(text: str, fmt: str) -> str:
    value = _value(text)
    if not math.isfinite(value):
        return _WORDS.get(text, text)
    return number(value, fmt or ("" if value % 1 or "." in text else ","))
