"""The report of a run: Markdown that cites numbers by key becomes report.html, report.pdf and report.tex.

`report/report.md` names metrics, values of run.json, figures and tables; `report/filter.lua` puts them in.
pandoc writes HTML, LaTeX and typst markup, and the typst package compiles the last to PDF. Name and time of
the run stand in the HTML alone: equal runs have equal PDF and LaTeX, to the byte.
"""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fer_lib.files import MEGABYTE, ROOT, UsageError, atomic_path, read_regular, sha256_of_file
from fer_tools import environment
from fer_tools.json_files import read_json, sha256_of_json, write_json
from fer_tools.paths import in_checkout
from fer_tools.report import numbers, values
from fer_tools.run.edges import Edge
from fer_tools.run.run import Run
from fer_tools.run.tree import LARGEST_FILE
from fer_tools.stages import STAGES

SOURCE = ROOT / "report" / "report.md"
FORMATS = ("html", "pdf", "tex")
LARGEST_PAGE = 32 * MEGABYTE  # of its figures; those of a real run have 0.3
# No raw HTML or TeX, no mathematics: a dollar sign is a dollar sign.
_MARKDOWN = "markdown-raw_html-raw_tex-raw_attribute-tex_math_dollars"
_PANDOC = {
    "html": ("--to=html", "--template=template.html", "--toc", "--toc-depth=2", "--shift-heading-level-by=1"),
    "tex": ("--to=latex", "--template=template.tex"),
    "typ": ("--to=typst", "--template=template.typ"),
}


def build(run_dir: str | Path, source: str | Path = SOURCE) -> dict[str, Path]:
    """Write report.html, report.pdf and report.tex into a run directory, unless they are up to date.

    They are up to date by content: report.json in the run directory holds one digest of everything that
    enters the report, and the digests of the three files. Equal inputs give equal bytes.

    Parameters
    ----------
    run_dir : str or Path
        Run directory with run.json, metrics.json, figures/ and tables/.
    source : str or Path
        The text in Markdown; templates, filter and references are always those of the repository.

    Returns
    -------
    dict
        {"html": path, "pdf": path, "tex": path}

    Raises
    ------
    UsageError
        If the text cites an unknown metric, value, figure, table, reference or cross-reference (the message
        names it, its line and its section), or a file of the run cannot be read. Nothing is written then.
    """
    run_dir, source = Path(run_dir), Path(source).resolve()
    data = values.read(run_dir)
    paths = {name: run_dir / f"report.{name}" for name in FORMATS}
    inputs = _digest(run_dir, source, data)
    if _up_to_date(run_dir / "report.json", inputs, paths):
        return paths

    with ThreadPoolExecutor() as pool:
        written = {name: pool.submit(convert, name, source, run_dir, data) for name in _PANDOC}
        contents = {name: future.result() for name, future in written.items()}
    contents["pdf"] = compile_pdf(contents["typ"], run_dir)
    for name, path in paths.items():
        with atomic_path(path) as temporary:
            temporary.write_bytes(contents[name])
    outputs = {path.name: sha256_of_file(path) for path in paths.values()}
    write_json(run_dir / "report.json", {"inputs": inputs, "outputs": outputs})
    return paths


def source_of(run: Run) -> Path:
    """Return the text that quotes a run, which depends on its stages."""
    others = (STAGES[stage].report for stage in run.stages if STAGES[stage].alone)
    return SOURCE.with_stem(next(others, SOURCE.stem))


def edges(run: Run) -> Iterator[Edge]:
    """Compare the report of a run with what it was built from, and its files with what was written.

    Of an excerpt, the files alone are compared: figures that entered the report may have been left out.
    """
    record, source = run.path / "report.json", "text, metrics.json, tables, figures"
    paths = {f"report.{name}": run.path / f"report.{name}" for name in FORMATS}
    gone = "left out" if run.excerpt else "missing"
    if not any(os.path.lexists(path) for path in (record, *paths.values())):
        yield Edge("report", source, "absent", "not built")
        return
    if run.excerpt and not os.path.lexists(record):
        yield Edge(record.name, "fer report", gone, f"{record.name} is {gone}")
        return
    try:
        content = read_json(record)
        inputs, outputs = content["inputs"], {name: content["outputs"][name] for name in paths}
    except (UsageError, KeyError, TypeError):
        reason = f"{record.name} does not say what the report was built from"
        yield Edge("report", record.name, "altered", reason)
        return
    for name, path in paths.items():
        yield Edge.of_file(run.digest(path.name), outputs[name], name, "fer report", "was built", gone)
    if run.excerpt:
        return
    if not in_checkout():
        yield Edge("report", source, "unknown", "only a checkout has text and templates to compare with")
        return
    same, reason = False, "the report was built from different files"
    try:
        same = _digest(run.path, source_of(run), values.read(run.path)) == inputs
    except UsageError as error:
        reason = str(error)
    yield Edge.judge(same, "report", source, "stale", reason)


def _digest(run_dir: Path, source: Path, data: Mapping[str, Any]) -> str:
    """Return the digest of what enters the report: data, figures, text, templates, this package, tools."""
    names = [f"figures/{name}.{kind}" for name in data["figures"] for kind in ("svg", "pdf")]
    try:
        code = sorted(Path(__file__).parent.glob("*.py"))
        files = [source, *code, *sorted(p for p in SOURCE.parent.iterdir() if p.is_file())]
        digests = [sha256_of_file(path) for path in files]
        digests += [sha256_of_file(run_dir / name, LARGEST_FILE) for name in names]
    except OSError as error:
        raise UsageError(f"{error.filename}: cannot be read ({error.strerror})") from error
    tools = [f"{package} {version(package)}" for package in ("pypandoc_binary", "typst")]
    return sha256_of_json([data, digests, names, tools])


def _up_to_date(record: Path, inputs: str, paths: Mapping[str, Path]) -> bool:
    try:
        content = read_json(record)
        outputs = {path.name: sha256_of_file(path, LARGEST_FILE) for path in paths.values()}
    except (UsageError, OSError):
        return False
    return content == {"inputs": inputs, "outputs": outputs}


def convert(name: str, source: Path, run_dir: Path, data: Mapping[str, Any]) -> bytes:
    """Return the report in one of pandoc's formats.

    Parameters
    ----------
    name : {"html", "tex", "typ"}
    source, run_dir : Path
        As in `build`.
    data : dict
        Of `fer_tools.report.values.read`.

    Raises
    ------
    UsageError
        If the text cites what the run does not have.
    """
    figures = list(data["figures"])

    def link(figure: str) -> str:
        if name == "html":  # pandoc would take a hundred times the memory of what is embedded
            return f"figure:{figures.index(figure)}"
        return f"figures/{figure}.{'pdf' if name == 'tex' else 'svg'}"

    command = [pandoc(), "--sandbox", "--standalone", "--wrap=none", "--number-sections"]
    command += [f"--from={_MARKDOWN}", *_PANDOC[name], "--lua-filter=filter.lua", "--citeproc"]
    command += ["--bibliography=references.bib", "--fail-if-warnings", "--", str(source)]
    text = source.read_text(encoding="utf-8", errors="replace")  # of which pandoc complains
    content = numbers.prepared(data, text) | {"figures": {figure: link(figure) for figure in figures}}
    process = subprocess.run(
        command,
        # The filter reads it. In names there may be halves of characters.
        input=json.dumps(content, ensure_ascii=False).encode(errors="replace"),
        capture_output=True,
        cwd=SOURCE.parent,
        env=environment.of_tool() | {"LC_ALL": "C"},  # which letters are small, to Lua
        check=False,
    )
    if process.returncode:
        raise UsageError(_explain(process.stderr.decode(errors="replace"), source, data))
    return _embedded(process.stdout, run_dir, figures) if name == "html" else process.stdout


def pandoc() -> str:
    """Return the pandoc that the package brings, of which the digest speaks; others may be on the path."""
    import pypandoc

    bundled = Path(pypandoc.__file__).parent / "files" / "pandoc"
    if not bundled.is_file():
        raise UsageError(
            f"{bundled}: missing; the report is made by the pandoc of the package pypandoc_binary: "
            f"{sys.executable} -m pip install --force-reinstall pypandoc_binary=={version('pypandoc_binary')}"
        )
    return str(bundled)


def _embedded(page: bytes, run_dir: Path, figures: list[str]) -> bytes:
    """Put figures into a page, in which their numbers stand. As an image, an SVG runs and loads nothing."""
    left = LARGEST_PAGE

    def picture(number: re.Match) -> bytes:
        nonlocal left
        path = run_dir / "figures" / f"{figures[int(number[1])]}.svg"
        svg = read_regular(path, LARGEST_FILE)
        left -= len(svg)
        if left < 0:
            raise UsageError(f"{path}: figures of more than {LARGEST_PAGE / MEGABYTE:.0f} MB; run it anew")
        return b'src="data:image/svg+xml;base64,' + base64.b64encode(svg) + b'"'

    return re.sub(rb'src="figure:(\d+)"', picture, page)


def _explain(stderr: str, source: Path, data: Mapping[str, Any]) -> str:
    """Return one line that names what could not be resolved, and where it is cited."""
    if missing := re.search(r"Citeproc: citation (\S+) not found", stderr):
        token, section = f"@{missing[1]}", None
        message = f'reference "@{missing[1]}" is not in references.bib'
    elif found := re.search(r"^\{.*\}$", stderr, re.MULTILINE):
        error = json.loads(found[0])
        token, section, message = error["token"], error["section"], error["message"]
    else:
        return f"{source.name}: pandoc failed ({' '.join(stderr.split()) or 'no message'})"
    cited = re.compile(re.escape(token).replace("=", '="?') + r"(?!\.?[\w:-])") if token else None
    lines = source.read_text(encoding="utf-8").splitlines()
    line = next((i for i, text in enumerate(lines, 1) if cited and cited.search(text)), None)
    where = f", line {line}" if line else ""
    where += f' (section "{section}")' if section else ""
    known = [*data["values"], *data["tables"], *(f"figure:{name}" for name in data["figures"])]
    close = get_close_matches(token, known, n=1, cutoff=0.8) if " is not in " in message else []
    hint = f'; did you mean "{re.split("[=:]", close[0], maxsplit=1)[1]}"?' if close else ""
    return " ".join(f"{source.name}{where}: {message}{hint}".split())


def compile_pdf(markup: bytes, run_dir: Path) -> bytes:
    """Compile typst markup to the bytes of a PDF; the run directory is all that it may read.

    The PDF is accessible (PDF/UA-1) unless a text has characters that no font of typst shows; then it is
    merely tagged. See `fer_tools.report.typeset`.

    Raises
    ------
    UsageError
        If typst cannot: a figure is no picture, for example.
    """
    # Isolated: beside that file stands one that Python would take for a module of its own.
    command = [sys.executable, "-I", str(Path(__file__).with_name("typeset.py")), str(run_dir.resolve())]
    few = {"RAYON_NUM_THREADS": "2", "MALLOC_ARENA_MAX": "2"}  # each thread counts as memory
    variables = environment.of_tool() | few
    process = subprocess.run(command, input=markup, capture_output=True, env=variables, check=False)
    if process.returncode:
        said = " ".join(process.stderr.decode(errors="replace").split())[-500:]
        if process.returncode != 2:  # ended by its limits, or by what is wrong in typst itself
            said = f"a figure takes more memory or time than it may; {said}"
        raise UsageError(f"{run_dir}: report.pdf cannot be made ({said})")
    return process.stdout
