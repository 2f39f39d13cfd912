"""The site: pages gathered from the checkout and a run, and rendered by Sphinx as docs/conf.py sets it."""

import html
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from fer_lib.files import UsageError, printable, write_text
from fer_tools import environment, paths
from fer_tools.commands.report import outcome
from fer_tools.play import server
from fer_tools.report.build import FORMATS, edges, pandoc
from fer_tools.run.run import Run
from fer_tools.students import release

# Pages of the checkout, and the picture in one of them: they lie in the site as in the student's folder.
PAGES = {
    **{f"docs/{name}": name for name in ("conf.py", "index.md", "game.md", "student.md", "promises.md")},
    **{f"docs/{name}": name for name in ("glossary.md", "static/site.css", "static/stix_two_math.woff")},
    **{name: name for name in ("data/README.md", "data/bundled/contact_sheet.png")},
    "game/icon.svg": "static/icon.svg",
}
KINDS = {"html": "to read here", "pdf": "PDF", "tex": "LaTeX"}  # of a report


def write(folder: Path, run: Run) -> None:
    """Write the site.

    Parameters
    ----------
    folder : Path
        What is there is replaced in the end; it stays if anything goes wrong.
    run : Run
        Its report is shown as it lies there. An excerpt of a run need not have all of its files.

    Raises
    ------
    UsageError
        If the run has no report, a notebook is not as it should be, or a page has a link that leads nowhere.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as made:
            source, site = Path(made, "source"), Path(made, "site")
            _gather(source, source.with_name("extra"), run)
            render(source, site)
            shutil.rmtree(folder, ignore_errors=True)
            site.rename(folder)
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be written ({error.strerror or error}); make room there"
        ) from error


def _gather(source: Path, extra: Path, run: Run) -> None:
    """Write the pages that Sphinx renders, and what it leaves as it is."""
    root = paths.checkout("make site")
    for path, name in PAGES.items():
        release.copy_file(root / path, source / name)
    for name, notebook in release.sources():
        try:
            shown = release.for_students(notebook, outputs=True)
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from None
        write_text(source / "notebooks" / name, nbformat.writes(shown))
    write_text(source / "report.md", _report(run, extra / "report"))
    for name, path in server.files_of_page().items():
        release.copy_file(path, extra / "game" / name.lstrip("/"))


def _report(run: Run, folder: Path) -> str:
    """Copy the files of a run's report, and return the page that leads to them."""
    wrong = [edge.reason for edge in edges(run) if edge.state not in ("ok", "left out")]
    there = [kind for kind in FORMATS if (run.path / f"report.{kind}").is_file()]
    if wrong or not there:
        why = (wrong or ["it has no report"])[0]
        raise UsageError(f"{run.path}: {why}; `fer report` makes one, or name another run, REPORT=...")
    for kind in there:
        release.copy_file(run.path / f"report.{kind}", folder / f"report.{kind}")
    items = "\n".join(f'<li><a href="report/report.{kind}">{KINDS[kind]}</a></li>' for kind in there)
    told = html.escape(printable(f"Of the run {run.name}: {outcome(run)}."))
    return f"# The report\n\n```{{raw}} html\n<p>{told}</p>\n<ul>\n{items}\n</ul>\n```\n"


def render(source: Path, site: Path) -> None:
    """Have Sphinx render a folder of pages with its conf.py.

    Raises
    ------
    UsageError
        At the first warning: a link that leads nowhere, an equation that cannot be shown.
    """
    pandoc()  # where it is missing, that says what to do
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "--jobs=auto"]
    command += ["--doctree-dir", str(source.with_name("doctrees")), str(source), str(site)]
    variables = environment.of_tool()
    done = subprocess.run(command, capture_output=True, env=variables, cwd=source, check=False)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").replace(f"{source}/", "").strip().splitlines()
        said = next((line for line in lines if "WARNING" in line or "ERROR" in line), (lines or ["?"])[-1])
        raise UsageError(f"the site cannot be made: {said} ({len(lines)} lines of Sphinx's)")
