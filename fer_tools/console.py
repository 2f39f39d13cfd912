"""Lines for a terminal, which what others wrote cannot steer."""

import json
import re
import sys
from collections.abc import Callable
from typing import Any

from fer_lib.files import UsageError, printable


def say(line: str) -> None:
    """Print a line. What others wrote into runs and names of files cannot steer the terminal with it."""
    print(printable(line), flush=True)


def complain(message: str) -> None:
    """Print to the standard error stream what went wrong, as a line of `fer`; see `say`."""
    print(printable(f"fer: {message}"), file=sys.stderr)


def exit_code(work: Callable[[], object]) -> int:
    """Do what a command line asks for, and return its exit code: 0, or 2 after one line on why not."""
    try:
        work()
    except UsageError as error:
        complain(str(error))
        return 2
    return 0


def json_for_terminal(value: Any, encoding: str) -> str:
    """Return JSON that cannot steer a terminal, and that it can show; it says the same.

    Letters stay as they are; what is no letter or sign, or has none in `encoding`, is escaped.
    """

    def shown(match: re.Match[str]) -> str:
        try:
            match[0].encode(encoding)
            if match[0].isprintable():
                return match[0]
        except UnicodeError:
            pass
        units = match[0].encode("utf-16-be", "surrogatepass").hex()
        return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))

    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return re.sub(r"[^\n -~]", shown, text)
