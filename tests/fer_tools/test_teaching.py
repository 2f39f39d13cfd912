"""The notebooks as teaching: enough prose, symbols that are said, lines that are there, exercises."""

import ast
import random
import re
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from nbconvert.filters import markdown2html

from fer_lib.data.faces import FaceDataset
from fer_tools import paths, stages
from fer_tools.json_files import read_json

NOTEBOOKS = {kind.notebook: kind.path for kind in stages.STAGES.values()}
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
UNSEEN = "<!-- BEGIN SOLUTION -->", "<!-- END SOLUTION -->"  # of model answers: the page does not show these
MATHS = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$", re.DOTALL)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What opens, records and closes a stage, and what keeps figures and tables.
BOOKKEEPING = re.compile(
    r"\b(begin|collect|record|keep|keep_model|save_figure|save_table|finish)\(|^\s*facts \|?="
)
# Layout and names of functions, which stand for no quantity.
NO_SYMBOLS = (
    r"\\(?:text|mathrm)\{[^}]*\}|"
    r"\\(?:begin|end|frac|sqrt|sum|log|max|min|dots|cdot|times|quad|qquad|Bigl|Bigr|lvert|rvert|partial|binom|"
    r"leftarrow|le|hat|bar|tilde)(?![a-zA-Z])"
)
SYMBOL = re.compile(r"\\[a-zA-Z]+|[a-zA-Z]")


def cells(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    found = [cell | {"source": "".join(cell["source"])} for cell in read_json(path)["cells"]]
    return [cell for cell in found if kind in (None, cell["cell_type"])]


def tags(cell: dict[str, Any]) -> list[str]:
    return cell["metadata"].get("tags", [])


def words(prose: str) -> int:
    """Count words: neither code nor formulas, addresses or model answers are prose."""
    prose = re.sub("{}.*?{}".format(*UNSEEN), " ", prose, flags=re.DOTALL)
    prose = re.sub(r"`[^`]*`|\]\([^)]*\)", " ", MATHS.sub(" ", FENCE.sub(" ", prose)))
    return len(re.findall(r"[^\W\d_][\w'’-]*", prose))


def lines(code: str) -> list[str]:
    return [line for line in code.splitlines() if line.strip() and not line.strip().startswith("#")]


def test_words_are_counted_as_a_reader_counts():
    assert words("A *small* network's [map](other_file.ipynb), $x_i$, `some code` and 3 dots.") == 6
    answer = "\n".join([UNSEEN[0], "Two.", UNSEEN[1]])
    assert words(f"One.\n\n```python\nx = 1\n```\n\n$$y = a$$\n\n{answer}\n\nThree.") == 2
    assert len(lines("x = 1\n\n# a comment\nfor y in x:\n    pass\n")) == 3


def test_there_is_more_to_read_than_code():
    said, done = 0, 0
    for name, path in NOTEBOOKS.items():
        prose = sum(words(cell["source"]) for cell in cells(path, "markdown"))
        code = sum(len(lines(cell["source"])) for cell in cells(path, "code"))
        print(f"{name}: {prose:,} words, {code} lines of code, {prose / code:.1f} words a line")
        said, done = said + prose, done + code
    print(f"together {said / done:.1f} words a line")
    assert said >= 12 * done


def test_cells_of_code_are_short():
    every = [len(lines(cell["source"])) for path in NOTEBOOKS.values() for cell in cells(path, "code")]
    print(f"of {len(every)} cells the median has {median(every)} lines, the longest {max(every)}")
    assert median(every) <= 5


def test_bookkeeping_is_one_line_in_six_and_one_record_a_group_of_metrics():
    code = {name: [lines(cell["source"]) for cell in cells(path, "code")] for name, path in NOTEBOOKS.items()}
    every = [line for those in code.values() for cell in those for line in cell]
    kept = [line for line in every if BOOKKEEPING.search(line)]
    print(f"{len(kept)} of {len(every)} lines are bookkeeping")
    assert 6 * len(kept) <= len(every)
    for stage in stages.STAGES.values():
        text = "\n".join(line for cell in code[stage.notebook] for line in cell)
        assert text.count("run.record(") == len(stage.prefixes), stage.notebook
        assert text.count("run.finish(") == text.count(" begin(") == 1, stage.notebook


def emphasised(path: Path) -> set[str]:
    """Return what is in italics in the prose of a notebook, in the singular."""
    prose = "\n".join(FENCE.sub(" ", cell["source"]) for cell in cells(path, "markdown"))
    found = re.findall(r"(?<![*\w])\*([^*\n]+)\*(?!\*)", MATHS.sub(" ", prose))
    return {each.lower().removesuffix("s") for each in found}


def test_words_of_the_glossary_are_said_first_where_it_says():
    page = (paths.ROOT / "docs" / "glossary.md").read_text("utf-8")
    rows = re.findall(r"^\| \*(.+?)\* \| .+ \| \[(\d)\]\(notebooks/(\w+)\.ipynb\) \|$", page, re.MULTILINE)
    assert len(rows) == page.count("\n| *") >= 40
    words = [word.lower() for word, *_ in rows]
    assert words == sorted(set(words)) and {"run", "stage", "calibration", "twins"} <= {*words}
    said = {name: emphasised(path) for name, path in NOTEBOOKS.items()}
    for word, number, name in rows:
        first = [known for known in sorted(said) if word.lower().removesuffix("s") in said[known]]
        assert first[:1] == [name] and int(name[:2]) == int(number), f"{word}: {first}"


# ----------------------------------------------------------------------------------------------- equations


def symbols(maths: str) -> set[str]:
    """Return the quantities of a formula: letters and Greek letters, indices among them."""
    return set(SYMBOL.findall(re.sub(NO_SYMBOLS, " ", maths)))


def test_symbols_are_what_stands_for_something():
    assert symbols(r"\hat{x} = \frac{\alpha}{\sqrt{v_t} + \epsilon} \qquad \log p_i \text{ from } 3") == {
        *("x", r"\alpha", "v", "t", r"\epsilon", "p", "i")
    }


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_symbol_of_an_equation_is_said_in_its_cell(name):
    shown = 0
    for cell in cells(NOTEBOOKS[name], "markdown"):
        text = FENCE.sub(" ", cell["source"])
        found = [match.groups() for match in MATHS.finditer(text)]
        equations = [display for display, _ in found if display]
        said = set().union(*(symbols(inline) for _, inline in found if inline))
        unsaid = set().union(*map(symbols, equations)) - said
        assert not unsaid, f"{cell['id']}: {sorted(unsaid)} is in an equation and in no sentence"
        shown += len(equations)
    assert shown >= 1, "no equation"


def sources() -> str:
    """Return all code of the course and its tools, one space for each gap."""
    folders = ("fer_lib", "fer_tools")
    texts = [path.read_text() for folder in folders for path in sorted((paths.ROOT / folder).rglob("*.py"))]
    return " ".join(" ".join(texts).split())


def test_a_line_of_code_that_is_quoted_is_there():
    code, quoted = sources(), 0
    for path in NOTEBOOKS.values():
        for cell in cells(path, "markdown"):
            for language, text in FENCE.findall(cell["source"]):
                if language == "python":
                    quoted += 1
                    assert " ".join(text.split()) in code, f"{cell['id']}: {text}"
    assert quoted >= 10


def test_files_that_are_named_are_there():
    named = re.compile(r"`((?:fer_lib|fer_tools|notebooks)/[\w/.]*)`|\]\((\w+\.ipynb)\)")
    for path in NOTEBOOKS.values():
        for match in named.finditer("\n".join(cell["source"] for cell in cells(path, "markdown"))):
            assert (paths.ROOT / (match[1] or f"notebooks/{match[2]}")).exists(), match[0]


def test_parameters_are_counted_rightly_on_the_page():
    (cell,) = (each for each in cells(NOTEBOOKS["02_training"]) if each["id"] == "count-parameters")
    rows = [
        [part.strip() for part in row.split("|")[1:-1]] for row in cell["source"].splitlines() if "|" in row
    ]
    found = {name: (sum_, int(count.replace(",", ""))) for name, sum_, count in rows if count[:1].isdigit()}
    for name, (computation, count) in found.items():
        assert re.fullmatch(r"[\d·+() ]+", computation), name
        assert eval(computation.replace("·", "*")) == count, name
    assert sum(count for _, count in found.values()) == 118_531
    assert f"**{118_531:,}**" in cell["source"]


# ----------------------------------------------------------------------------------------------- exercises


def pairs(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each exercise that is code, and the cell below it."""
    every = cells(path)
    for cell, below in pairwise(every):
        if "exercise" in tags(cell) and cell["cell_type"] == "code":
            yield cell, below


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_exercises_have_a_solution_and_a_check(name):
    path = NOTEBOOKS[name]
    found, every = list(pairs(path)), cells(path)
    assert len(found) >= 3
    for cell, below in found:
        assert tags(below)[:1] == ["check"] and below["cell_type"] == "code", cell["id"]
        assert (cell["id"], below["id"]) == (f"exercise-{cell['id'][9:]}", f"check-{cell['id'][9:]}")
        asserted = [node for node in ast.walk(ast.parse(below["source"])) if isinstance(node, ast.Assert)]
        assert asserted and all(node.msg for node in asserted), below["id"]
    assert len(found) == sum("check" in tags(cell) for cell in every)
    open_ones = [cell for cell in cells(path, "markdown") if "exercise" in tags(cell)]
    assert open_ones and all(cell["id"].startswith("exercise-") for cell in open_ones)
    for cell in [*open_ones, *(cell for cell, _ in found)]:
        text = [line.strip() for line in cell["source"].splitlines()]
        begin, end = (BEGIN, END) if cell["cell_type"] == "code" else UNSEEN
        assert text.count(begin) == text.count(end) == 1, cell["id"]
        solution = text[text.index(begin) + 1 : text.index(end)]
        assert any(solution) and any(text[: text.index(begin)]), cell["id"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_page_shows_the_model_answer_and_no_mark(name):
    for cell in cells(NOTEBOOKS[name], "markdown"):
        if "exercise" in tags(cell):
            page = markdown2html(cell["source"])
            assert page.count("<p><em>A possible answer.</em>") == 1, cell["id"]
            assert "SOLUTION" not in re.sub(r"<!--.*?-->", "", page), cell["id"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_exercises_come_when_the_stage_is_closed_and_change_nothing_of_it(name):
    every = cells(NOTEBOOKS[name])
    closed = next(place for place, cell in enumerate(every) if "run.finish()" in cell["source"])
    for place, cell in enumerate(every):
        if {"exercise", "check"} & set(tags(cell)):
            assert place > closed, cell["id"]
            if cell["cell_type"] == "code":
                code = cell["source"]
                assert not re.search(
                    r"\brun\.|\bfit\(|set_weights|set_random_seed|np\.random\.(?!default)", code
                )
                assert not re.search(r"^(?:settings|network|history|trainer)\b[^=]*=[^=]", code, re.MULTILINE)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_ends_with_what_was_learnt_exercises_references_and_where_to_go(name):
    text = "\n".join(cell["source"] for cell in cells(NOTEBOOKS[name], "markdown"))
    found = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert found[-3:] == ["What was learnt", "Exercises", "References"]
    assert re.search(r"\[\d · [^]]+\]\(\d\d_\w+\.ipynb\)", cells(NOTEBOOKS[name])[-1]["source"])


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_something_is_asked_before_each_figure_and_said_after_it(name):
    every = cells(NOTEBOOKS[name])
    shown = [place for place, cell in enumerate(every) if "save_figure(" in cell["source"]]
    for number, place in enumerate(shown):
        before = shown[number - 1] if number else 0
        text = "".join(cell["source"] for cell in every[before:place] if cell["cell_type"] == "markdown")
        asked = "?" in text or re.search(r"\b[Pp]redict|Ask yourself|Before you", text)
        assert asked, f"{every[place]['id']}: nothing is asked before it"
        until = shown[number + 1] if number + 1 < len(shown) else len(every)
        after = (cell for cell in every[place:until] if not {"exercise", "check"} & set(tags(cell)))
        printed = any("print(" in cell["source"] for cell in after)
        assert printed, f"{every[place]['id']}: nothing is said after it"


# ------------------------------------------------------------------------------------ exercises, executed


def network() -> Any:
    """Return a network of one convolution and a head; its weights come from a seed of their own."""
    import keras

    zeros = {"kernel_initializer": "zeros"}
    x = inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, **zeros)(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(x))
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax", **zeros)(x))


def run_of(name: str) -> dict[str, Any]:
    """Return what the exercises of a notebook take from its run, small."""
    if name == "01_exploration":
        images = np.zeros((4, 3, 3), np.uint8)
        images[2:] = 7
        images[3, 0, 0] = 8
        return {"faces": FaceDataset(images, np.zeros(4, int), ("a", "b"), np.full(4, ""))}
    if name == "02_training":
        settings = SimpleNamespace(classes=["a", "b", "c"])
        targets = np.eye(3, dtype=np.float32)[[0, 2, 2, 1]]
        history = [{"val_loss": 1.0}]
        return {"network": network(), "settings": settings, "validation": (None, targets), "history": history}
    if name == "06_game":
        return {"prompts": [None] * 30}
    return {"trainer": SimpleNamespace(model=network())} if name == "07_transfer" else {}


# A wrong answer to each: what is forgotten, mixed up or taken the wrong way round.
WRONG = {
    "balanced-sample": "return [total // k] * k",
    "count-twins": "return len(images) - len({float(image.mean()) for image in images})",
    "chin-moves": "chin_moves = 24 * 0.02",
    "count-parameters": "return area * read * written",
    "adam-step": "m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2\n"
    "return w - rate * m / (np.sqrt(v) + epsilon), m, v",
    "loss-of-chance": "loss_of_chance = 1 / len(settings.classes)",
    "running-median": "return [np.median(losses[max(0, t - 2) : t + 1]) for t in range(len(losses))]",
    "stays-above": "lowest = int(np.argmin(smoothed))\n"
    "above = np.flatnonzero(smoothed[lowest + 1 :] > smoothed[lowest])\n"
    "return lowest + 2 + int(above[0]) if len(above) >= patience else None",
    "onset-of-a-corner": "onset_of_corner = 21",
    "wilson": "p = right / n\nhalf = z * np.sqrt(p * (1 - p) / n)\nreturn p - half, p + half",
    "f1-of-class": "return (matrix[i, i] / matrix[i].sum() + matrix[i, i] / matrix[:, i].sum()) / 2",
    "half-as-wide": "times_as_many = 2",
    "pairs": "return np.mean(b) - np.mean(a), np.std([*a, *b], ddof=1)",
    "any-false-alarm": "return k * level",
    "winners-curse": "winners_curse = 1",
    "hold": "return times[0] + hold if answers[0] is not None else None",
    "difference-interval": "return p_low - q_high, p_high - q_low",
    "prompts-needed": "prompts_needed = 20",
    "mcnemar": "n = only_a + only_b\nreturn 2 * math.comb(n, min(only_a, only_b)) / 2**n",
    "block-rates": "return [rate * factor**i for i in range(number + 1)]",
    "trained-when-frozen": "trained_when_frozen = trainer.model.count_params()",
}


def answered(source: str, answer: str) -> str:
    """Put an answer in the place of the solution, as deep as that stands."""
    before, _, rest = source.partition(BEGIN)
    indent = before.rpartition("\n")[2]
    return before.removesuffix(indent) + textwrap.indent(answer, indent) + rest.partition(END)[2]


def global_states() -> tuple[Any, ...]:
    """Return the states of the generators that all code shares."""
    _, keys, *position = np.random.get_state()  # noqa: NPY002
    return keys.tobytes(), position, random.getstate()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_check_passes_the_solution_alone(name):
    """In little more than what the notebook imports: no exercise needs, or changes, the stage itself."""
    imports = ast.parse("\n".join(cell["source"] for cell in cells(NOTEBOOKS[name], "code")[1:2]))
    imports.body = [node for node in imports.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names: dict[str, Any] = {}
    exec(compile(imports, name, "exec"), names)
    names |= run_of(name)
    before, spent = global_states(), 0.0
    for cell, below in pairs(NOTEBOOKS[name]):
        place, clock = cell["id"].removeprefix("exercise-"), time.process_time()
        exec(cell["source"], names)
        exec(below["source"], names)
        spent += time.process_time() - clock
        for wrong in (WRONG[place], "...", "raise NotImplementedError"):
            tried = dict(names)
            tried.pop(cell["source"].split()[0], None)
            with suppress(NotImplementedError):
                exec(answered(cell["source"], wrong), tried)
            expected = (
                AssertionError if wrong == WRONG[place] else (AssertionError, TypeError, NotImplementedError)
            )
            with pytest.raises(expected) as caught:
                exec(below["source"], tried)
            said = str(caught.value)
            assert said or wrong != WRONG[place]
            print(f"{place}: {said}")
    assert before == global_states()
    assert spent < 2, f"the exercises take {spent:.1f} s"
