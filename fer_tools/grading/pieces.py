"""What the page of a class and the pages of students have in common."""

import base64
import hashlib
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from fer_tools.grading.marks import SectionMarks

_FOLDER = Path(__file__).parent
_GAME = "game"  # with which the codes of findings begin that are of a game, not of the network


def findings_of(section: SectionMarks) -> list[dict[str, Any]]:
    """Return what was found of the file that a section is about: of the game or of the network."""
    found = (section.diagnosis or {}).get("findings") or []
    of_game = section.section.file == "game"
    return [finding for finding in found if finding["code"].startswith(_GAME) == of_game]


def code_and_words(text: str) -> Iterator[tuple[bool, str]]:
    """Yield the pieces of a text, and whether they stand between backticks; an odd one is a character."""
    at = 0
    for match in re.finditer(r"`([^`]+)`", text):
        yield False, text[at : match.start()]
        yield True, match[1]
        at = match.end()
    yield False, text[at:]


def html_of(text: str) -> str:
    """Return a text as HTML: what others wrote is characters, and nothing else."""
    return "".join(
        f"<code>{escape(part)}</code>" if is_code else escape(part) for is_code, part in code_and_words(text)
    )


def document(title: str, body: str, script: bool = False) -> str:
    """Return a whole page, which asks nothing of anybody.

    Parameters
    ----------
    title : str
        HTML.
    body : str
        HTML.
    script : bool
        Whether it has the script that sorts tables.
    """
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    code = (_FOLDER / "page.js").read_text(encoding="utf-8") if script else ""
    policy = f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src {_hash(style)}"
    policy += f"; script-src {_hash(code)}" if script else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
{f"<script>{code}</script>" if script else ""}
</body>
</html>
"""


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
