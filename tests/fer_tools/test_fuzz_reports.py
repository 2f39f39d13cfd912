"""Fuzz tests of reports: many hostile texts in one pandoc; see `fuzzing`."""

import csv
import json
import random
import shutil
from html.parser import HTMLParser
from pathlib import Path

import fuzzing
import pytest
from fuzzing import COUNTS, FUZZ, INPUTS, answer, seeded, unbounded
from hypothesis import given
from hypothesis import strategies as st
from synthetic import synthetic_run

from fer_lib.files import UsageError
from fer_tools.report import build, numbers, values

pytestmark = pytest.mark.filterwarnings("ignore")
sandbox, summary = fuzzing.sandbox, fuzzing.summary

WORDS = (
    "< > \\ { } $ # @ ` * _ [ ] ( ) ::: ! & ; = - + ~ ^ | \" ' % / // /* */ {{ }} ]{ []{metric=k.0} --- ... "
    "1. <script>alert(1)</script> <img/src=x/onerror=alert(1)> \\input{/etc/passwd} \\end{document} #panic() "
    "#eval $$ <!-- --> ]]> &amp; &#0; {=html} ```{=latex} @fig:loss [x](javascript:y) - x é Ω 漢字 עברית 😀 "
    "﷽ 0 1e5 -0 True None nan .5 1,000 _low _high"
)
PIECES = [
    *WORDS.split(" "),
    " ",
    "\n",
    "\t",
    "\0",
    "\x1b[31m",
    "\u202e",
    "\u200d",
    "\ud800",
    "\u2028",
    "\U0010ffff",
    "\\",
    "\\\\",
]


def hostile(chance: random.Random) -> str:
    def piece() -> str:
        return chr(chance.randrange(0x110000)) if chance.random() < 0.1 else chance.choice(PIECES)

    return "".join(piece() for _ in range(chance.randrange(9)))


class Values(HTMLParser):
    """Collects the printed values by key, all kinds of elements, and the names of their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.elements: set[str] = set()
        self.key: str | None = None

    def handle_starttag(self, tag: str, attributes: list) -> None:
        given_ = dict(attributes)
        self.elements |= {tag} | {f"{tag} {name}" for name in given_}
        if tag == "span" and given_.get("class") == "value":
            self.key = given_["title"]
            self.values[self.key] = ""

    def handle_endtag(self, tag: str) -> None:
        self.key = None if tag == "span" else self.key

    def handle_data(self, data: str) -> None:
        if self.key is not None:
            self.values[self.key] += data


def report_of(folder: Path, template: Path, texts: list[str]) -> Values:
    """Build a report of metrics, names and a table that say these texts; read the HTML."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    document = json.loads((folder / "run.json").read_text())
    document["hostile"] = {text: text for text in texts}
    (folder / "run.json").write_text(json.dumps(document))
    (folder / "metrics.json").write_text(json.dumps({f"k.{i}": text for i, text in enumerate(texts)}))
    with open(
        folder / "tables" / "hostile.csv", "w", encoding="utf-8", errors="replace", newline=""
    ) as handle:
        csv.writer(handle).writerows([("first", "second"), *((text or "-", text) for text in texts)])
    cited = "\n\n".join(f"[]{{metric=k.{i}}} and []{{metric=k.{i} .code}}" for i in range(len(texts)))
    source = folder / "text.md"
    tables = "::: {.table name=hostile #tbl:a}\nA.\n:::\n\n::: {.table run=hostile #tbl:b}\nB.\n:::\n"
    source.write_text(f"---\ntitle: Fuzz\nlang: en-GB\n---\n\n# First\n\n{cited}\n\n{tables}")
    built = build.build(folder, source)
    assert built["pdf"].read_bytes().startswith(b"%PDF")
    found = Values()
    found.feed(built["html"].read_text(encoding="utf-8"))
    return found


def test_text_in_reports(sandbox: Path, tmp_path_factory: pytest.TempPathFactory):
    """Whatever metrics, names and tables say stands in the report as text, letter by letter."""
    unbounded()  # pandoc wants 1 TB
    seed, chance = seeded()
    template = synthetic_run(sandbox / "template")
    plain = report_of(sandbox / "run", template, ["a", "b"])
    done = 0
    while done < INPUTS:
        texts = [hostile(chance) for _ in range(min(1000, INPUTS - done))]
        found = report_of(sandbox / "run", template, texts)
        for i, text in enumerate(texts):
            printed = numbers.clean(text).encode(errors="replace").decode()
            assert " ".join(found.values[f"k.{i}"].split()) == printed, (seed, text)
        assert found.elements <= plain.elements | {"code", "p", "td", "th"}, (
            seed,
            found.elements - plain.elements,
        )
        done += len(texts)
        COUNTS["text in reports", "answered"] += len(texts)


def test_texts_of_reports(sandbox: Path):
    """The text itself, damaged: a report, or one line that says what is wrong with it."""
    unbounded()
    seed, chance = seeded()
    run = synthetic_run(sandbox / "run")
    data = values.read(run)
    whole = build.SOURCE.read_text(encoding="utf-8")
    for _ in range(max(5, INPUTS // 100)):
        text = whole
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(text))
            text = text[:at] + hostile(chance) + text[at + chance.choice([0, 0, 1, 30]) :]
        (sandbox / "text.md").write_text(text, encoding="utf-8", errors="replace")
        try:
            build.convert("html", sandbox / "text.md", run, data)
            COUNTS["texts of reports", "answered"] += 1
        except UsageError as error:
            assert str(error) and "\n" not in str(error), (seed, text)
            COUNTS["texts of reports", "refused"] += 1


# -- numbers -----------------------------------------------------------------------------------------------

FORMATS = st.sampled_from(["", ",", ".3f", "+.1%", ",.2f", ".3g", "d", ".12", "%e %B %Y", "%c"]) | st.text(
    "+,.%0123456789dfgeYQ \ud800\0", max_size=5
)
CELLS = st.text(max_size=8) | st.text("0123456789.,+-e%", max_size=6) | st.floats().map(str)


VALUES = (
    st.none()
    | st.booleans()
    | st.text(max_size=12)
    | st.integers(-(10**299), 10**299)
    | st.floats(-1e299, 1e299)
    | st.floats(-2, 2)
)


@FUZZ
@given(VALUES, FORMATS)
def test_values_in_any_format(value: float | str | bool | None, fmt: str):
    shown = answer("values in any format", numbers.printed, value, fmt)
    assert shown is None or isinstance(shown, str)


@FUZZ
@given(st.lists(st.tuples(*[CELLS] * 4), max_size=4), FORMATS)
def test_tables_in_any_format(rows: list[tuple[str, ...]], fmt: str):
    table = {"header": ["x", "x_low", "x_high", "x_low_low"], "rows": rows}
    for column in answer("tables in any format", numbers.columns, table, fmt) or ():
        assert len(column["cells"]) == len(rows) and all(isinstance(cell, str) for cell in column["cells"])
