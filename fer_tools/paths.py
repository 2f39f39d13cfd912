"""Where things lie: the checkout, runs, and the tables of studies."""

import os
import re
from contextlib import suppress
from pathlib import Path

from fer_lib.files import ROOT, UsageError

STUDY_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")  # part of the name of a folder
EXAMPLE = "example"  # name of the trace that comes with the repository


def in_checkout() -> bool:
    """Return whether this package lies in its checkout, with notebooks, report and bundled faces."""
    return is_checkout(ROOT)


def is_checkout(folder: Path) -> bool:
    """Return whether a folder is a checkout, this one or another."""
    notebooks = (folder / "notebooks").glob("0?_*.ipynb")  # one that is lost, or is no file, is named later
    return (folder / "fer_tools" / "paths.py").is_file() and any(notebooks)


def refuse_other_checkout(*places: str | Path) -> None:
    """Refuse to go on for somebody who is in another checkout than the one whose code this is.

    The environment of a checkout, copied along with it or still active, runs the code of the original, whose
    runs it would fill.

    Parameters
    ----------
    *places : str or Path
        Where they are, and what else they used, for example the script that they called.

    Raises
    ------
    UsageError
        If one of them lies in another checkout.
    """
    own = Path(__file__).resolve().parent.parent
    for place in places if is_checkout(own) else ():
        with suppress(FileNotFoundError):  # the folder somebody is in may have been removed
            place = Path(place).absolute()
            nearest = next((folder for folder in (place, *place.parents) if is_checkout(folder)), own)
            if not nearest.samefile(own):
                raise UsageError(
                    f"{place}: is in the checkout {nearest}, but this environment runs the code of {own}; "
                    f"`make setup` in the former makes its own, .venv"
                )


def checkout(what: str) -> Path:
    """Return the folder of the checkout, which holds notebooks, report and bundled faces.

    Parameters
    ----------
    what : str
        What needs it, for the message.

    Raises
    ------
    UsageError
        If this package was installed without it.
    """
    if not in_checkout():
        raise UsageError(
            f"{what}: needs the checkout of FER Lab, with its notebooks and report, and this is an installed "
            "package without one; clone the repository and `pip install -e .` in it"
        )
    return ROOT


def results_folder() -> Path:
    """Return where runs live: the environment variable FER_RESULTS, or `results/` of the checkout.

    Raises
    ------
    UsageError
        If it begins with the home of somebody who is not known, or this is called in another checkout.
    """
    refuse_other_checkout(".")
    if given := os.environ.get("FER_RESULTS"):
        if (folder := os.path.expanduser(given)).startswith("~"):
            raise UsageError(f"FER_RESULTS = {given!r}: no such home; give a folder's whole path")
        return Path(folder).resolve()
    return (ROOT if in_checkout() else Path.cwd()) / "results"


def study_table(name: str) -> Path:
    """Find the table of a study: among the runs, or else among those that come with the repository.

    Raises
    ------
    UsageError
        If there is none.
    """
    folders = [folder / f"{name}_study" for folder in (results_folder(), ROOT / "results")]
    for folder in folders:
        if STUDY_NAME.fullmatch(name) and (folder / "results.csv").is_file():
            return folder / "results.csv"
    raise UsageError(f"study {name!r}: none in {folders[0]}; `fer sweep STUDY.yaml` makes one")


def trace_name(given: str) -> str:
    """Return a trace as run.json keeps it: "example", its place among the runs, or else its whole path."""
    path = os.path.expanduser(given)
    if given in ("", EXAMPLE) or not os.path.exists(path):
        return given
    whole, results = Path(path).resolve(), results_folder()
    return whole.relative_to(results).as_posix() if whole.is_relative_to(results) else str(whole)


def trace_file(name: str) -> Path:
    """Find the trace of a game: of `trace_name`, or as `fer play` says where it saved one.

    Raises
    ------
    UsageError
        If there is none.
    """
    if name == EXAMPLE:
        return checkout("the example of a game") / "game" / "example_trace.json"
    path = results_folder() / name  # which a whole path replaces
    if not os.path.lexists(path):
        raise UsageError(f"trace {name!r}: no such file; `fer play RUN` saves one, {EXAMPLE!r} is there")
    return path
