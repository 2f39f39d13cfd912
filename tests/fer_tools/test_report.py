"""The report: from a run directory to HTML, PDF and LaTeX, with every number cited by key."""

import csv
import gzip
import html
import json
import re
import resource
import shutil
import struct
import subprocess
import time
import warnings
import zlib
from base64 import b64encode
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from synthetic import FIGURES, HOSTILE, MODEL, NAME, synthetic_metrics, synthetic_run, write_json

from fer_lib.files import UsageError
from fer_tools.report import build, numbers, values


@pytest.fixture(scope="session")
def template_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one synthetic run without a report; do not write into it."""
    return synthetic_run(tmp_path_factory.mktemp("template") / NAME)


@pytest.fixture
def run_dir(template_run: Path, tmp_path: Path) -> Path:
    """Return a copy of the synthetic run, in a path with a blank and a letter beyond ASCII."""
    return Path(shutil.copytree(template_run, tmp_path / "Läufe und mehr" / NAME))


@pytest.fixture(scope="session")
def built(template_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a built report; do not write into it."""
    return build.build(shutil.copytree(template_run, tmp_path_factory.mktemp("built") / NAME))


def edit(path: Path, **changes: object) -> None:
    """Change entries of a JSON file; a double underscore in a name stands for a full stop."""
    content = json.loads(path.read_text())
    write_json(path, content | {key.replace("__", "."): value for key, value in changes.items()})


def tool(name: str, what: str) -> str:
    """Return the path of a program, or skip loudly."""
    if found := shutil.which(name):
        return found
    message = f"NOT TESTED, {what}: {name} is not installed"
    warnings.warn(message, stacklevel=2)
    pytest.skip(message)


def pdf_text(pdf: Path) -> str:
    """Return the text of a PDF, blanks squeezed and hyphenation undone."""
    command = [tool("pdftotext", "the text of report.pdf"), str(pdf), "-"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return " ".join(text.replace("-\n", "-").split())


def small(tmp_path: Path, body: str) -> Path:
    """Write a short report that cites only what `body` does."""
    path = tmp_path / "short.md"
    path.write_text(
        f"---\ntitle: Short\nlang: en-GB\n---\n\n# First part {{#first}}\n\n{body}\n", encoding="utf-8"
    )
    return path


def as_html(run_dir: Path, source: Path = build.SOURCE) -> str:
    """Convert to HTML only, which is all that many a test needs."""
    return build.convert("html", source, run_dir, values.read(run_dir)).decode()


# ------------------------------------------------------------------------------------------------ the report


def test_numbers_of_metrics_json_stand_in_all_three_outputs(built: dict[str, Path]) -> None:
    page, tex = (built[name].read_text(encoding="utf-8") for name in ("html", "tex"))
    visible = " ".join(re.sub(r"<[^>]+>", "", page.split("<body>")[1]).split())
    plain_tex = " ".join(tex.replace("\\%", "%").replace("{}", "").split())
    expected = (
        "118,531",
        "118,083",
        "73.9%",
        "72.5% to 75.3%",
        "0.612",
        "15,351",
        "1,029",
        "−0.091",
        "+0.044",
    )
    expected += ("71.2%\u00a0(68.0–74.0%)", "The target of 60% is reached")
    for number in expected:
        assert number.replace("\u00a0", " ") in visible
        assert number in plain_tex.replace("--", "–").replace("~", "\u00a0")
    text = pdf_text(built["pdf"])
    for number in expected:
        assert number.replace("\u00a0", " ") in text


def test_figures_and_tables_are_numbered_alike_and_linked(built: dict[str, Path]) -> None:
    page, tex = (built[name].read_text(encoding="utf-8") for name in ("html", "tex"))
    for n, name in enumerate(("loss", "accuracy", "gap", "per_class", "confusion_matrix"), 1):
        assert f'<a href="#fig:{name}">Figure\u00a0{n}</a>' in page
        assert f"Figure~\\ref{{fig:{name}}}" in tex
        assert f"Figure {n}." in re.sub(r"<[^>]+>", "", page)
    assert tex.count("\\begin{figure}") == page.count("<figure ") == len(FIGURES)
    assert tex.count("\\label{tbl:") == page.count("<table ") == 10
    text = pdf_text(built["pdf"])
    assert f"Figure {len(FIGURES)}. Brightness and contrast" in text
    assert "(Table 8)" in text


def test_html_is_accessible_and_self_contained(built: dict[str, Path]) -> None:
    page = built["html"].read_text(encoding="utf-8")
    assert '<html lang="en-GB">' in page
    assert "<title>Train your network · Facial expression recognition, Section 5</title>" in page
    images = re.findall(r"<img [^>]*>", page)
    assert len(images) == len(FIGURES)
    assert all(re.search(r'alt="[^"]{20,}"', image) for image in images)
    assert all('src="data:image/svg+xml;base64,' in image for image in images)
    assert not re.search(r'(src|href)="(?!data:|#|https://(doi|arxiv)\.org/)', page)
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert 'scope="col"' in page and 'scope="row"' in page
    assert "prefers-color-scheme: dark" in page and "@media print" in page


def test_pdf_is_accessible(built: dict[str, Path]) -> None:
    """The file says that it is PDF/UA-1: typst refuses that to figures without alternative texts."""
    content = built["pdf"].read_bytes()
    assert b"<pdfuaid:part>1</pdfuaid:part>" in content
    assert b"/StructTreeRoot" in content and b"/Lang(en-GB)" in content.replace(b"/Lang (", b"/Lang(")


def test_no_number_is_typed_into_the_prose() -> None:
    text = build.SOURCE.read_text(encoding="utf-8")
    text = re.sub(r"\{[^{}]*\}|figure:\w+|@[\w:]+", "", text)  # citations, identifiers, references
    for allowed in ("Section 5", "SHA-256", "FER2013", "F1", "95% interval"):
        text = text.replace(allowed, "")
    assert not re.findall(r".*\d.*", text)


def test_html_in_a_browser(built: dict[str, Path], tmp_path: Path) -> None:
    """No error on the console, all images shown, nothing unresolved, no scrolling sideways, no table cut."""
    page = html.escape(built["html"].read_text(encoding="utf-8"))
    outside = tmp_path / "outside.html"  # looks at the report from there: the report itself forbids scripts
    outside.write_text(
        f"""<!DOCTYPE html>
        <iframe width="390" height="844" style="border: 0" srcdoc="{page}"></iframe>
        <iframe width="1100" height="900" style="border: 0" srcdoc="{page}"></iframe>
        <script>
        addEventListener("load", () => {{
          const [phone, desk] = [0, 1].map(i => frames[i].document), images = [...phone.images];
          const wider = box => box.scrollWidth > box.clientWidth;
          document.body.append("CHECKED " + JSON.stringify({{
            width: frames[0].innerWidth, sideways: wider(phone.documentElement), images: images.length,
            shown: images.filter(image => image.complete && image.naturalWidth > 0).length,
            clipped: [...desk.querySelectorAll(".scroll")].filter(wider).map(box => box.id || box.innerText),
            unresolved: /[?][?]|metric=|run=|@fig|@tbl/.test(phone.documentElement.innerText) }}) + " END");
        }});</script>""",
        encoding="utf-8",
    )
    browser = next(
        (n for n in ("chromium", "chromium-browser", "google-chrome") if shutil.which(n)), "chromium"
    )
    for file in (built["html"], outside):
        command = [tool(browser, "report.html in a browser"), "--headless", "--no-sandbox", "--disable-gpu"]
        command += ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]
        command += ["--disable-component-update", f"--user-data-dir={tmp_path / file.stem}", "--dump-dom"]
        command += ["--window-size=1200,2000", "--enable-logging=stderr", file.as_uri()]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
        assert not [line for line in result.stderr.splitlines() if "CONSOLE" in line]
    found = json.loads(html.unescape(re.search(r"</script>CHECKED (.*?) END", result.stdout)[1]))
    count = len(FIGURES)
    assert found == {
        "width": 390,
        "sideways": False,
        "images": count,
        "shown": count,
        "clipped": [],
        "unresolved": False,
    }


def latex(run_dir: Path, passes: int = 1) -> str:
    """Compile report.tex and return the log."""
    command = [tool("pdflatex", "report.tex compiled"), "-interaction=nonstopmode", "-halt-on-error"]
    command += ["-no-shell-escape", "-jobname=report-latex", "report.tex"]
    for _ in range(passes):
        result = subprocess.run(command, cwd=run_dir, capture_output=True, timeout=600, check=False)
    log = (run_dir / "report-latex.log").read_text(encoding="utf-8", errors="replace")
    assert result.returncode == 0, "\n".join(re.findall(r"^!.*\n.*", log, re.MULTILINE))
    return log


def test_latex_compiles_without_unresolved_references(run_dir: Path) -> None:
    build.build(run_dir)
    log = latex(run_dir, passes=2)
    assert "undefined" not in log
    assert f"<./figures/{FIGURES[0]}.pdf>" in log.replace("\n", "")


# -------------------------------------------------------------------------------------- citations and values


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("[]{metric=test.acuracy}", ('metric "test.acuracy" is not in metrics.json', '"test.accuracy"')),
        ("[]{run=versions.kears}", ('value "versions.kears" is not in run.json', '"versions.keras"')),
        ("[]{run=stages.training.seconds}", ("stages.training.seconds",)),
        ('![A](figure:loos){#fig:a alt="b"}', ('figure "loos" is not in figures/', '"loss"')),
        ("![A](figure:loss){#fig:a}", ('figure "loss" has no alt="..." text',)),
        ('![A](figure:loss){alt="b"}', ("identifier #fig:",)),
        ('![A](https://example.org/x.png){#fig:a alt="b"}', ("https://example.org/x.png", "figure:NAME")),
        ('So ![A](figure:loss){alt="b"} it is.', ("figure:loss", "paragraph of its own")),
        ("::: {.table name=cuonts #tbl:a}\nA.\n:::", ('table "cuonts" is not in tables/', '"counts"')),
        ('::: {.table name=per_class fmt=".1q" #tbl:a}\nA.\n:::', ('fmt=".1q" is not a format',)),
        ("::: {.table run=version #tbl:a}\nA.\n:::", ('part "version" is not in run.json',)),
        ("::: {.table name=counts #tbl:a}\n:::", ('"tbl:a" has no caption',)),
        ("See Figure @fig:nowhere.", ('cross-reference "@fig:nowhere" leads nowhere',)),
        ("As shown by @nobody1999.", ('reference "@nobody1999" is not in references.bib',)),
        ("See [below](#nowhere).", ('link "#nowhere" leads nowhere',)),
        ("[]{metrc=test.accuracy}", ("neither metric= nor run=",)),
        ("[]{metric=test.accuracy", ("is not valid markup",)),
        ('[]{metric=test.accuracy fmt=".1q"}', ('fmt=".1q" is not a format',)),
        ('[]{metric=test.majority_class fmt=".1%"}', ("does not suit a text",)),
        ("# Again {#tbl:a}\n\n" + 2 * "::: {.table name=counts #tbl:a}\nA.\n:::\n\n", ("used twice",)),
    ],
)
def test_what_cannot_be_resolved_stops_the_build(
    run_dir: Path, tmp_path: Path, body: str, expected: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as error:
        build.build(run_dir, small(tmp_path, f"Some text.\n\n{body}"))
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith("short.md")
    assert "line 10" in message or "line" not in message.split(":")[0]
    assert 'section "' in message or "references.bib" in message
    for part in expected:
        assert part in message
    assert not list(run_dir.glob("*report*"))


def test_the_message_names_line_and_section(run_dir: Path, tmp_path: Path) -> None:
    text = build.SOURCE.read_text(encoding="utf-8").replace("test.ece", "test.eec")
    (tmp_path / "report.md").write_text(text, encoding="utf-8")
    line = next(i for i, content in enumerate(text.splitlines(), 1) if "test.eec" in content)
    with pytest.raises(UsageError) as error:
        build.build(run_dir, tmp_path / "report.md")
    assert str(error.value) == (
        f'report.md, line {line} (section "Calibration"): metric "test.eec" is not in metrics.json; '
        'did you mean "test.ece"?'
    )


@pytest.mark.parametrize(
    ("value", "fmt", "printed"),
    [
        (0.73913, ".1%", "73.9%"),
        (118531, ",", "118,531"),
        (1234567.891, ",.2f", "1,234,567.89"),
        (-1234, ",", "−1,234"),
        (-0.00001, ".3f", "0.000"),
        (0.25, "+.2f", "+0.25"),
        (0.001, None, "0.001"),
        (50, None, "50"),
        (0.123456, None, "0.1235"),
        (0, "%Y-%m-%d", "1970-01-01"),
        (True, None, "yes"),
        (False, ".1f", "no"),
        (None, ".1%", "none"),
        ("0123456789", ".4", "0123"),
        ("Zürich", ".2", "Zü"),
    ],
)
def test_printed_forms(run_dir: Path, tmp_path: Path, value: object, fmt: str | None, printed: str) -> None:
    edit(run_dir / "metrics.json", x=value)
    source = small(tmp_path, "[]{metric=x" + (f' fmt="{fmt}"' if fmt else "") + "}")
    assert f'title="x">{printed}</span>' in as_html(run_dir, source)


@pytest.mark.parametrize(
    ("value", "fmt", "printed"),
    [
        (-0.0, "", "0"),
        (10**20, ",", "100,000,000,000,000,000,000"),
        (1e-7, "", "1e-07"),
        (123456.7, ",.3g", "1.23e+05"),
        (-0.5, "d", "0"),  # half to even, as everywhere in Python
        (1.5, "d", "2"),
        (0.125, ".2f", "0.12"),
        (-0.004, "+.1%", "−0.4%"),
        (1_760_000_000, "%e %B %Y", " 9 October 2025"),
    ],
)
def test_numbers_are_rounded_as_python_rounds_them(value: float, fmt: str, printed: str) -> None:
    assert numbers.number(value, fmt) == printed


@pytest.mark.parametrize("fmt", [".1q", "3f", ".3", ".3d", ".999f", "%", "%Q", "%Y %", "1", ",+", " "])
def test_what_is_no_format_is_refused(fmt: str) -> None:
    with pytest.raises(UsageError, match="is not a format"):
        numbers.number(0.5, fmt)


def test_a_time_that_no_calendar_has_is_refused() -> None:
    with pytest.raises(UsageError, match="is not a format"):
        numbers.number(1e200, "%Y")


def test_the_columns_of_a_table() -> None:
    table = {
        "header": ["class", "hits", "hits_low", "hits_high", "rate", "b_low", "share", "ok"],
        "rows": [
            ["a", "0.71", "0.6", "", "1e-07", "x", "50%", "True"],
            ["b", "", "", "", "12345", "", "1,234", "False"],
            ["7", "0.9", "0.8", "1.0", "-2.50", "", "1e999", ""],
        ],
    }
    shown = {column["title"]: column for column in numbers.columns(table, ".0%")}
    assert [title for title, column in shown.items() if column["numeric"]] == ["Hits", "Rate", "Share"]
    assert {title: column["cells"] for title, column in shown.items()} == {
        "Class": ["a", "b", "7"],
        "Hits": ["71%\u00a0(60–)", "", "90%\u00a0(80–100%)"],
        "Rate": ["0%", "1234500%", "−250%"],
        "B low": ["x", "", ""],
        "Share": ["50%", "1,234", "1e999"],
        "Ok": ["yes", "no", ""],
    }
    assert not numbers.columns({"header": ["a"], "rows": []})[0]["numeric"]


def test_a_share_of_all_or_nothing_is_shown_as_others_of_its_column() -> None:
    """Tables as pandas writes them; what is to be read is Python's own formatting of the numbers."""
    import pandas as pd

    rng = np.random.default_rng(0)
    drawn = np.round(rng.uniform(0, 1, (40, 3)), 4)
    drawn[rng.random((40, 3)) < 0.4] = 1.0
    drawn[rng.random((40, 3)) < 0.3] = 0.0
    drawn[0] = 1.0, 0.992, 1.0
    drawn[1] = 0.0, 0.0, 0.008
    frame = pd.DataFrame(drawn, columns=["recall", "recall_low", "recall_high"])
    frame["none_right"], frame["all_right"] = 0.0, 1.0
    frame["images"], frame["often"] = 500, 500.0  # a count is a count, also if pandas has made it a float
    frame["one_image"] = 1
    header, *rows = csv.reader(frame.to_csv(index=False, lineterminator="\n").splitlines())
    shown = {
        column["title"]: column["cells"]
        for column in numbers.columns({"header": header, "rows": rows}, ".1%")
    }
    assert shown["Recall"] == [f"{a:.1%}\u00a0({100 * b:.1f}–{c:.1%})" for a, b, c in drawn]
    assert shown["Recall"][:2] == ["100.0%\u00a0(99.2–100.0%)", "0.0%\u00a0(0.0–0.8%)"]
    assert {title: set(cells) for title, cells in shown.items() if title != "Recall"} == {
        "None right": {"0.0%"}, "All right": {"100.0%"},
        "Images": {"500"}, "Often": {"500"}, "One image": {"1"},
    }  # fmt: skip


def test_what_was_rounded_for_readers_is_not_rounded_again() -> None:
    """A tenth is shown as it is written, be it 10.0 or 1234.5; what was not rounded has four digits."""
    rows = [["10.0", "0.123456", "10.0%"], ["9.8", "1.0", "9.8%"], ["-1234.5", "", ""]]
    shown = numbers.columns({"header": ["minutes", "long", "share"], "rows": rows})
    assert [column["cells"] for column in shown] == [
        ["10.0", "9.8", "−1,234.5"],
        ["0.1235", "1", ""],
        ["10.0%", "9.8%", ""],
    ]


@pytest.mark.parametrize(
    "cited", ['fmt=".2f"', "fmt='.2f'", "fmt=.2f", 'x fmt=".2f" .code', r"title: \"[]{a=b fmt=\".2f\"}\""]
)
def test_a_format_is_found_however_it_is_written(cited: str) -> None:
    data = {"values": {"metric=x": 0.5}, "tables": {}}
    assert numbers.prepared(data, f"[]{{metric=x {cited}}}")["values"]["metric=x"] == {
        "": "0.5",
        ".2f": "0.50",
    }


def test_optional_figures_come_and_go(run_dir: Path) -> None:
    assert "fig:gallery" not in as_html(run_dir)
    for kind in ("svg", "pdf"):
        shutil.copy(run_dir / f"figures/loss.{kind}", run_dir / f"figures/gallery.{kind}")
    assert 'id="fig:gallery"' in as_html(run_dir)


# ----------------------------------------------------------------------------------------------- hostile text


def hostile_run(run_dir: Path) -> Path:
    """Put hostile texts into metrics, run.json and a table."""
    everything = " | ".join(HOSTILE)
    edit(
        run_dir / "metrics.json",
        data__source=everything,
        overfitting__sentence=HOSTILE[4],
        model__name=HOSTILE[1],
    )
    edit(run_dir / "run.json", name=HOSTILE[0] + HOSTILE[1] + HOSTILE[2], versions={h: h for h in HOSTILE})
    with open(run_dir / "tables/counts.csv", "w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([("class", HOSTILE[0]), *((text, text) for text in HOSTILE)])
    return run_dir


def test_hostile_text_stays_text(run_dir: Path) -> None:
    paths = build.build(hostile_run(run_dir))
    page = paths["html"].read_text(encoding="utf-8")
    assert "<script" not in page
    assert page.count("<img ") == len(FIGURES)
    shown = html.unescape(re.sub(r"<[^>]+>", "", page))
    squeezed = re.sub(r"\s|\u2060|\ufffd", "", pdf_text(paths["pdf"]))
    tex = paths["tex"].read_text(encoding="utf-8")
    assert r"\input{" not in tex and r"\textbackslash input\{" in tex
    for text in HOSTILE:
        assert shown.count(text) >= 3
        if text.isascii():  # right-to-left text and emoji come out of a PDF in another order
            assert re.sub(r"\s", "", text) in squeezed
    assert "naïvefaçadeΩδ" in squeezed


def test_hostile_text_compiles_in_latex(run_dir: Path) -> None:
    build.build(hostile_run(run_dir))
    log = latex(run_dir)
    assert "passwd" not in "".join(re.findall(r"\(/\S+", log))  # files that TeX has opened
    squeezed = re.sub(r"\s", "", pdf_text(run_dir / "report-latex.pdf"))
    assert "$\\input{/etc/passwd}$" in squeezed
    assert "[U+1F600]" in squeezed


def test_control_and_direction_characters_are_replaced(run_dir: Path) -> None:
    edit(run_dir / "metrics.json", overfitting__sentence="a\x00b\u202ec\ud800d\n\n# e")
    edit(run_dir / "run.json", versions={"half a character \ud800": "1"})
    assert "a\ufffdb\ufffdc\ufffdd # e" in as_html(run_dir)


# ------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("metrics.json", None, "no metrics.json; give the directory of a finished run"),
        ("run.json", None, "no run.json"),
        ("metrics.json", "{", "not valid JSON"),
        ("metrics.json", "[]", "not a JSON object"),
        ("metrics.json", '{"a": NaN}', "metrics.json: a is nan"),
        ("metrics.json", '{"a": 1' + 400 * "0" + "}", "metrics.json: a is 1000"),
        ("metrics.json", '{"a": [1]}', "metrics.json: a is not a number, text"),
        ("run.json", '{"created": "today"}', "\"created\" is 'today'"),
        ("tables/counts.csv", "a,b\n1\n", "row 2 has 1 cells, the header 2"),
        ("tables/counts.csv", "", "an empty table"),
        ("tables/counts.csv", b"\xff\xfe", "cannot be read as CSV"),
        ("figures/loss.svg", "not an SVG", "report.pdf cannot be made"),
    ],
)
def test_bad_run_directories(run_dir: Path, file: str, content: str | bytes | None, expected: str) -> None:
    if content is None:
        (run_dir / file).unlink()
    else:
        (run_dir / file).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UsageError, match=re.escape(expected)) as error:
        build.build(run_dir)
    assert "\n" not in str(error.value)
    assert not list(run_dir.glob("*report*"))


def test_a_failed_build_leaves_the_old_report(run_dir: Path) -> None:
    before = {name: path.read_bytes() for name, path in build.build(run_dir).items()}
    metrics = synthetic_metrics()
    del metrics["test.accuracy"]
    write_json(run_dir / "metrics.json", metrics)
    with pytest.raises(UsageError, match=r"test\.accuracy"):
        build.build(run_dir)
    assert {name: (run_dir / f"report.{name}").read_bytes() for name in before} == before


# ------------------------------------------------------------------------------- same bytes, and not again


def test_two_builds_give_the_same_bytes(built: dict[str, Path], run_dir: Path) -> None:
    again = build.build(run_dir)
    assert {name: path.read_bytes() for name, path in again.items()} == {
        name: path.read_bytes() for name, path in built.items()
    }


def test_name_and_time_of_the_run_stand_in_the_html_alone(built: dict[str, Path], run_dir: Path) -> None:
    name = "basic_model_50_epochs_timestamp_1234567890"
    edit(run_dir / "run.json", name=name, created=1_234_567_890, model_file=f"results/{name}.keras")
    again = build.build(run_dir)
    assert {kind: again[kind].read_bytes() == built[kind].read_bytes() for kind in again} == {
        "html": False,
        "pdf": True,
        "tex": True,
    }
    assert name in again["html"].read_text(encoding="utf-8")
    assert b"CreationDate" not in again["pdf"].read_bytes()
    edit(run_dir / "run.json", stages={"overfitting": {"outputs": {"model.keras": "0" * 64}}})
    assert build.build(run_dir)["pdf"].read_bytes() != built["pdf"].read_bytes()  # another model


def test_nothing_is_rebuilt_without_a_change(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(build, "convert", lambda *args: calls.append(args[0]) or b"text")
    monkeypatch.setattr(build, "compile_pdf", lambda *args: b"PDF")

    def builds() -> bool:
        calls.clear()
        build.build(run_dir)
        return bool(calls)

    assert builds()
    start = time.process_time()
    assert not builds()
    assert time.process_time() - start < 1
    stages = {"overfitting": {"outputs": {"model.keras": MODEL}, "seconds": 1.0}}
    edit(run_dir / "run.json", stages=stages)  # durations do not enter the report
    assert not builds()
    edit(run_dir / "metrics.json", test__loss=0.7)
    assert builds()
    edit(run_dir / "run.json", name="other")
    assert builds()
    with open(run_dir / "figures/loss.svg", "a") as handle:
        handle.write("<!-- -->")
    assert builds()
    with open(run_dir / "tables/counts.csv", "a") as handle:
        handle.write("fear,1,2,3,4,5\n")
    assert builds()
    (run_dir / "report.pdf").write_bytes(b"altered")
    assert builds()
    (run_dir / "report.tex").unlink()
    assert builds()
    (run_dir / "report.json").write_text("{")
    assert builds()
    assert not builds()
    package = shutil.copytree(Path(build.__file__).parent, run_dir.parent / "package")
    monkeypatch.setattr(build, "__file__", str(package / "build.py"))
    assert not builds()
    for module in sorted(package.glob("*.py")):  # all of them decide what the report says
        module.write_text(module.read_text() + "\n")
        assert builds() and not builds()


def test_long_tables_and_large_figures_stay_on_the_page(run_dir: Path, tmp_path: Path) -> None:
    """A table longer than a page is continued; every row of it is printed."""
    with open(run_dir / "tables/counts.csv", "w") as handle:
        handle.write("class,count\n" + "".join(f"row{i:03d},{i}\n" for i in range(150)))
    text = pdf_text(
        build.build(run_dir, small(tmp_path, "::: {.table name=counts #tbl:a}\nLong.\n:::"))["pdf"]
    )
    assert all(f"row{i:03d}" in text for i in range(150))


# -- figures of somebody else ------------------------------------------------------------------------------


def _grey_png(side: int) -> bytes:
    """A black picture: a kilobyte of file for each megabyte of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    row = bytes(side + 1)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


_SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9" '
    b'height="9">%b</svg>'
)


def _nested_uses() -> bytes:
    levels = b"".join(
        b'<g id="a%d">%b</g>' % (i + 1, b'<use xlink:href="#a%d"/>' % i * 10) for i in range(12)
    )
    return _SVG % (b'<defs><g id="a0"><path d="M0 0L1 1"/></g>%b</defs><use xlink:href="#a12"/>' % levels)


@pytest.mark.parametrize(
    "make",
    [
        lambda: _SVG % (b'<image xlink:href="data:image/png;base64,%b"/>' % b64encode(_grey_png(45_000))),
        lambda: gzip.compress(_SVG % bytes(1 << 30), 1),
        _nested_uses,
    ],
    ids=["picture", "packed", "nested"],
)
def test_a_figure_that_unpacks_to_more_than_the_memory_is_refused(run_dir, make):
    (run_dir / "figures" / "loss.svg").write_bytes(make())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UsageError, match=r"report\.pdf cannot be made") as caught:
        build.build(run_dir)
    assert len(str(caught.value).splitlines()) == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes, here
    assert not (run_dir / "report.pdf").exists()


def test_figures_are_embedded_as_they_are(run_dir):
    figure = run_dir / "figures" / "loss.svg"
    svg = figure.read_bytes() + b"<!-- this one -->"
    figure.write_bytes(svg)
    page = build.build(run_dir)["html"].read_bytes()
    assert page.count(b'src="data:image/svg+xml;base64,' + b64encode(svg) + b'"') == 1
    assert b"figure:" not in page


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tables/counts.csv", "a,b\n" + "1,2\n" * 20_000, "more than 20,000 cells, which no page can show"),
        ("tables/predictions.csv", "a\n" + "1\n" * 5_100_000, "more than 5,000,000 cells"),
        (
            "metrics.json",
            json.dumps({f"data.{i}": "x" * 9000 for i in range(120)}),
            "characters in metrics.json",
        ),
        ("figures/loss.svg", "<svg>" + " " * (33 << 20), "figures of more than 32 MB"),
    ],
)
def test_more_than_a_report_can_show_is_refused(run_dir, name, content, said):
    if name == "metrics.json":
        content = json.dumps(json.loads((run_dir / name).read_text()) | json.loads(content))
    (run_dir / name).write_text(content)
    with pytest.raises(UsageError, match=said):
        build.build(run_dir)
