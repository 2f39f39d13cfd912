"""Notebooks as people really save them: what does not matter changes nothing, and the rest is one line.

What papermill, nbformat and IPython make of a notebook is asked of these themselves.
"""

import copy
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from asserting import refusal, within
from IPython.core.interactiveshell import InteractiveShell
from made import put
from papermill.engines import NotebookExecutionManager
from papermill.exceptions import PapermillExecutionError
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from papermill.utils import nb_language

from fer_lib.files import ROOT, UsageError
from fer_tools import checking, commands, notebooks, paths, pipeline, renew
from fer_tools.json_files import read_json
from fer_tools.run import provenance, source_code
from fer_tools.run.run import Run
from fer_tools.stages import STAGES

STAGE = "training"
DEFAULTS = 2  # the cell's place in its notebook


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a checkout whose notebooks may be changed; all else is that of the tests."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    shutil.copytree(ROOT / "results" / "reference", folder / "results" / "reference")
    for name in ("fer_lib", "fer_tools", "report", "data", "tests"):
        (folder / name).symlink_to(ROOT / name)
    monkeypatch.setattr(paths, "ROOT", folder)
    monkeypatch.setattr(pipeline, "interruptible", lambda: None)
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    return folder


def saved(change: Callable[[dict], Any] = lambda notebook: None, **layout: Any) -> None:
    """Save the notebook of a stage of `checkout`, changed."""
    path = STAGES[STAGE].path
    notebook = read_json(path)
    change(notebook)
    text = json.dumps(notebook, **{"indent": 1, "ensure_ascii": False} | layout)
    path.write_text(text + "\n", encoding="utf-8")


def code(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def cell(source: str, kind: str = "code", **metadata: Any) -> dict:
    made = {"cell_type": kind, "id": f"x{len(source)}", "metadata": metadata, "source": source}
    return made | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def after_defaults(made: dict) -> Callable[[dict], None]:
    """Put a cell below that of the defaults."""

    def change(notebook: dict) -> None:
        notebook["cells"].insert(notebook["cells"].index(code(notebook)[0]) + 1, copy.deepcopy(made))

    return change


# ------------------------------------------------------------------------------- what does not matter


def every_cell(change: Callable[[dict], Any]) -> Callable[[dict], None]:
    def changed(notebook: dict) -> None:
        for each in notebook["cells"]:
            change(each)

    return changed


def without_outputs(notebook: dict) -> None:
    for each in code(notebook):
        each.update(outputs=[], execution_count=None)


def of_an_older_format(notebook: dict) -> None:
    notebook["nbformat_minor"] = 4
    for each in notebook["cells"]:
        del each["id"]


WIDGETS = {"application/vnd.jupyter.widget-state+json": {"state": {"a": {"b": 1}}, "version_major": 2}}
IN_VSCODE = {"kernelspec": {"display_name": ".venv", "language": "python", "name": "python3"}}
IN_COLAB = {"colab": {"provenance": []}, "language_info": {"name": "python"}, "accelerator": "GPU"}
HARMLESS: dict[str, Callable[[dict], Any]] = {
    "outputs cleared": without_outputs,
    "counts": lambda n: [each.update(execution_count=77) for each in code(n)],
    "ids": lambda n: [each.update(id=f"other-{i}") for i, each in enumerate(n["cells"])],
    "an older format": of_an_older_format,
    "widgets": lambda n: n["metadata"].update(widgets=WIDGETS),
    "other metadata": lambda n: n["metadata"].update(toc={"a": [1]}, celltoolbar="Tags", title="Übung"),
    "metadata of cells": every_cell(lambda c: c["metadata"].update(collapsed=True, jupyter={"x": 1})),
    "other tags": every_cell(lambda c: c["metadata"].setdefault("tags", []).append("hide-input")),
    "of VS Code": lambda n: n.update(metadata=IN_VSCODE | {"language_info": {"name": "python"}}),
    "of Colab": lambda n: n.update(metadata=IN_COLAB),
    "only a kernel": lambda n: n.update(metadata=IN_VSCODE),
    "source is a text": every_cell(lambda c: c.update(source="".join(c["source"]))),
    "lines end as in Windows": every_cell(
        lambda c: c.update(source=[line.replace("\n", "\r\n") for line in c["source"]])
    ),
    "an empty cell": lambda n: n["cells"].append(cell("")),
    "a cell of blanks": lambda n: n["cells"].append(cell(" \n\n")),
    "a comment of a cell": lambda n: n["cells"].append(cell("# done")),
    "a text": lambda n: n["cells"].insert(0, cell("# mine", "markdown")),
    "a raw cell": lambda n: n["cells"].insert(1, cell("%run x.py", "raw")),
    "another default": lambda n: code(n)[0].update(source="".join(code(n)[0]["source"]) + "\nepochs = 3 * 4"),
    "as papermill saved it": after_defaults(cell("# Parameters\nepochs = 3\n", tags=["injected-parameters"])),
}
LAYOUTS: dict[str, dict] = {
    "one line": {"indent": None},
    "escaped": {"ensure_ascii": True},
    "wide": {"indent": 4},
}


def recorded() -> str:
    run = read_json(ROOT / "results" / "reference" / "run.json")
    return run["stages"][STAGE]["inputs"]["code"]


def test_unchanged_notebooks_have_the_digests_that_the_committed_run_has():
    run = read_json(ROOT / "results" / "reference" / "run.json")
    for stage, entry in run["stages"].items():
        model = provenance.of_those_read(run, stage, "model")
        assert provenance.code_digest(stage, model) == entry["inputs"]["code"], stage


@pytest.mark.parametrize("name", HARMLESS)
def test_what_does_not_matter_changes_no_digest(checkout, name):
    before = provenance.code_digest(STAGE)
    saved(HARMLESS[name])
    nbformat.validate(nbformat.read(STAGES[STAGE].path, as_version=nbformat.NO_CONVERT), relax_add_props=True)
    assert provenance.code_digest(STAGE) == before


@pytest.mark.parametrize("name", [*LAYOUTS, "CRLF", "no last line end", "blanks around"])
def test_nor_does_the_layout_of_the_file(checkout, name):
    before, path = provenance.code_digest(STAGE), STAGES[STAGE].path
    saved(**LAYOUTS.get(name, {}))
    content = path.read_bytes()
    path.write_bytes(
        {"CRLF": content.replace(b"\n", b"\r\n"), "no last line end": content.rstrip()}.get(name, content)
    )
    if name == "blanks around":
        path.write_bytes(b"\n\n " + content + b"\n\n")
    assert provenance.code_digest(STAGE) == before


def test_a_run_is_still_up_to_date_where_all_of_it_was_saved_otherwise(checkout, capsys):
    assert commands.main(["check", str(checkout / "results" / "reference")]) == 0
    for change in (change for name, change in HARMLESS.items() if name != "of Colab"):
        saved(change)
    assert commands.main(["check", str(checkout / "results" / "reference")]) == 0
    assert not capsys.readouterr().err


# ------------------------------------------------------------------------------------- what is refused


def tagged(*given: tuple[int, str]) -> Callable[[dict], None]:
    """Give cells tags, and take them from all others."""

    def change(notebook: dict) -> None:
        for place, each in enumerate(notebook["cells"]):
            each["metadata"]["tags"] = [tag for where, tag in given if where == place]

    return change


def defaults(old: str, new: str) -> Callable[[dict], None]:
    def change(notebook: dict) -> None:
        source = "".join(notebook["cells"][DEFAULTS]["source"])
        assert old in source
        notebook["cells"][DEFAULTS]["source"] = source.replace(old, new, 1)

    return change


def with_text(text: str) -> Callable[[dict], None]:
    return lambda notebook: notebook["cells"].append(cell(text))


def nested(depth: int) -> list:
    found: list = []
    for _ in range(depth):
        found = [found]
    return found


P, INJ = "parameters", "injected-parameters"
GIVEN = cell("# Parameters\nepochs = 3\n", tags=[INJ])
REFUSED: dict[str, tuple[Callable[[dict], Any], tuple[str, ...]]] = {
    "no tags": (tagged(), ("'parameters'", "none is there", "mend the tags")),
    "another tag": (tagged((DEFAULTS, "Parameters")), ("none is there",)),
    "two tags": (tagged((DEFAULTS, P), (4, P)), ("cell 3 'parameters', cell 5 'parameters'",)),
    "a tagged text": (tagged((0, P)), ("cell 1", "markdown, not code")),
    "the wrong cell": (tagged((DEFAULTS + 1, P)), ("cell 4, tagged 'parameters'", "line 1")),
    "given before": (
        lambda n: n["cells"].insert(0, copy.deepcopy(GIVEN)),
        ("cell 1 'injected-parameters', cell 4 'parameters'",),
    ),
    "given twice": (
        lambda n: n["cells"].__setitem__(slice(3, 3), [copy.deepcopy(GIVEN) for _ in "12"]),
        ("cell 4 'injected-parameters', cell 5 'injected-parameters'",),
    ),
    "a misspelt default": (
        defaults("epochs = 50", "epoch = 50"),
        ("cell 3", "parameter 'epochs' is not set"),
    ),
    "a default more": (defaults("epochs", "speed = 3\nepochs"), ("cell 3", "'speed' is no parameter")),
    "a default less": (defaults("epochs = 50\n", ""), ("cell 3", "'epochs' is not set")),
    "a default of code": (
        defaults("epochs = 50", "epochs = open('x').read()"),
        ("cell 3", "'epochs' is no plain value"),
    ),
    "an import": (defaults("epochs", "import os\nepochs"), ("cell 3", "line 4 is not `name = value`")),
    "added to": (
        defaults("epochs = 50", "epochs = 50\nepochs += 1"),
        ("cell 3", "line 5 is not `name = value`"),
    ),
    "a magic": (defaults("epochs", "%matplotlib inline\nepochs"), ("cell 3", "not Python")),
    "stripped": (lambda n: n.update(metadata={}), ("metadata: no language", "JupyterLab", "git")),
    "of R": (lambda n: n.update(metadata={"language_info": {"name": "R"}}), ("'R', not 'python'",)),
    "no format": (lambda n: n.pop("nbformat"), ("no nbformat",)),
    "half a format": (lambda n: n.pop("nbformat_minor"), ("no nbformat_minor",)),
    "format 3": (lambda n: n.update(nbformat=3), ("format is 3.5",)),
    "format 5": (lambda n: n.update(nbformat=5), ("format is 5.5",)),
    "no cells": (lambda n: n.pop("cells"), ("no cells",)),
    "no metadata": (lambda n: n["cells"][4].pop("metadata"), ("cell 5: no metadata",)),
    "tags are a text": (lambda n: n["cells"][4]["metadata"].update(tags="x"), ("cell 5: tags",)),
    "deep": (lambda n: n["metadata"].update(x=nested(100)), ("nested",)),
    "half a letter": (with_text("\ud83d"), ("not valid JSON", "surrogates")),
    "not Python": (with_text("x = 1\nx = = 1"), ("not Python (invalid syntax, line 2)",)),
    "not Python, with a magic": (with_text("%matplotlib inline\nx = = 1"), ("line 2",)),
    "deep code": (with_text("x = " + "-" * 700 + "1"), ("not Python",)),
    "code of a file": (with_text("%run helper.py"), ("%run brings in code",)),
    "code of a file, in a magic": (with_text("%%capture\n%time %run helper.py"), ("%run brings in",)),
    "a file is written": (with_text("%%writefile helper.py\nx = 1"), ("%writefile brings in",)),
    "code is loaded": (with_text("x = 1\n%load helper.py"), ("%load brings in",)),
    "values are restored": (with_text("%store -r x"), ("%store brings in",)),
    "a magic of another name": (with_text("%alias_magic r run"), ("%alias_magic brings in",)),
    "a magic by its function": (
        with_text("get_ipython().run_line_magic('run', 'x.py')"),
        ("%run brings in",),
    ),
    "a magic chosen late": (with_text("get_ipython().run_line_magic(name, '')"), ("only at run time",)),
    "an import that is lost": (with_text("%%time\nfrom fer_lib import gone"), ("imports fer_lib.gone",)),
    "an extension that is lost": (with_text("%load_ext fer_lib.gone"), ("imports fer_lib.gone",)),
}
CONFLICT = b'{\n "cells": [\n<<<<<<< HEAD\n  {},\n=======\n  {"a": 1},\n>>>>>>> theirs\n ]\n}\n'
FILES: dict[str, tuple[bytes, str]] = {
    "conflict": (CONFLICT, "line 3 (<<<<<<<) is a mark of a merge conflict; resolve it"),
    "conflict of Windows": (CONFLICT.replace(b"\n", b"\r\n"), "line 3 (<<<<<<<) is a mark of a merge"),
    "empty": (b"", "not valid JSON"),
    "a list": (b"[]", "it is no object"),
    "a page": (b"<!DOCTYPE html><html></html>", "not valid JSON"),
    "half": ((ROOT / "notebooks" / "02_training.ipynb").read_bytes()[:9000], "not valid JSON"),
    "UTF-16": ('{"cells": []}'.encode("utf-16"), "not valid JSON"),
    "BOM": (b"\xef\xbb\xbf{}", "not valid JSON"),
    "brackets": (b"[" * 100_000, "not valid JSON"),
    "a number": (b"1" * 100_000, "not valid JSON"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_go_wrong_is_named_in_one_line(checkout, name):
    change, said = REFUSED[name]
    saved(change, ensure_ascii=name == "half a letter")
    message = refusal(provenance.code_digest, STAGE)
    assert message.startswith("02_training.ipynb: ")
    for text in said:
        assert text in message, message


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_notebook_is_named(checkout, name):
    content, said = FILES[name]
    STAGES[STAGE].path.write_bytes(content)
    message = refusal(provenance.code_digest, STAGE)
    assert message.startswith("02_training.ipynb: ") and said in message, message


STUDY = "name: tiny\npreset: smoke\nbase: {epochs: 1}\nseeds: [0]\n"


def stamps(checkout: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in (checkout / "notebooks").iterdir()}


def made_whole(checkout: Path) -> Path:
    """Make of the committed excerpt, which gets no report, a run that forgot what it lacks."""
    run = Run(checkout / "results" / "reference")
    stages = run.document["stages"]
    for entry in stages.values():
        entry["outputs"] = {key: value for key, value in entry["outputs"].items() if run.digest(key)}
        entry.pop("notebook", None)
    shutil.copy(run.path / "model.keras", run.path.with_name("reference.keras"))
    run.update(stages=stages, excerpt=False)
    return run.path


def asked(command: str, checkout: Path, capsys: pytest.CaptureFixture) -> str:
    """Give a command; return the one line that it complains with, for which it has made no run."""
    reference, study = checkout / "results" / "reference", checkout / "study.yaml"
    study.write_text(STUDY)
    results = Path(os.environ["FER_RESULTS"])
    before = stamps(checkout)
    with within(60):
        if command.startswith("renew"):
            status = renew.main(command.split()[1:])
        else:
            given = {"run": ["--preset", "smoke"], "sweep": [str(study)]}
            target = [str(made_whole(checkout) if command == "report" else reference)]
            status = commands.main([command, *given.get(command, target)])
    said = capsys.readouterr().err.splitlines()
    assert status == 2 and len(said) == 1, said
    assert not list(results.rglob("run.json"))
    assert stamps(checkout) == before
    return said[0]


COMMANDS = ("run", "check", "report", "verify", "sweep", "renew references", "renew digests")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "name", ["no tags", "two tags", "stripped", "format 3", "code of a file", "conflict"]
)
def test_every_command_says_so_before_a_run_begins(checkout, capsys, command, name):
    if name in FILES:
        STAGES[STAGE].path.write_bytes(FILES[name][0])
        said = FILES[name][1]
    else:
        saved(REFUSED[name][0])
        said = REFUSED[name][1][0]
    line = asked(command, checkout, capsys)
    assert "02_training.ipynb: " in line and said in line


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "kind", ["pipe", "socket", "circle", "broken link", "device", "folder", "huge", "gone"]
)
def test_what_is_no_file_is_not_waited_for(checkout, capsys, command, kind):
    path = STAGES[STAGE].path
    path.unlink()
    if kind == "huge":
        with open(path, "wb") as handle:
            handle.truncate(10**12)
    elif kind != "gone":
        put(path, kind)
    assert str(path) in asked(command, checkout, capsys)


def test_a_run_that_is_resumed_names_the_notebook_before_any_kernel(
    checkout, capsys, monkeypatch, face_folder
):
    run = pipeline.start("smoke", {"data": str(face_folder), "train_samples": 60})
    saved(REFUSED["no tags"][0])
    monkeypatch.setattr("papermill.execute_notebook", lambda *_, **__: pytest.fail("a kernel was begun"))
    assert commands.main(["run", "--resume", run.name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fer: 02_training.ipynb: the tag 'parameters'")


# ------------------------------------------------------------------------------------ magics and the digest

ALLOWED = [
    "%matplotlib inline",
    "%load_ext autoreload\n%autoreload 2",
    "!ls",
    "files = !ls *.py",
    "?print",
    "print?",
    "%pip install seaborn",
    "%config InlineBackend.figure_format = 'retina'",
    "%env X=1",
    "%%time\nx = 1",
    "%%bash\nls -l | sort",
    "%%html\n<b>x</b>",
    "x = %time 3",
    "    x = 1",
    "await something()",
]


@pytest.mark.parametrize("text", ALLOWED)
def test_magics_are_allowed_and_count(checkout, text):
    before = provenance.code_digest(STAGE)
    saved(after_defaults(cell(text)))
    with_magic = provenance.code_digest(STAGE)
    saved(lambda notebook: code(notebook)[1].update(source=text + "\n"))
    assert provenance.code_digest(STAGE) == with_magic != before
    saved(lambda notebook: notebook["cells"].remove(code(notebook)[1]))
    assert provenance.code_digest(STAGE) == before


@pytest.mark.parametrize(
    "text",
    [
        "%time from fer_lib import attention",
        "%timeit -n 1 -r 1 from fer_lib import attention",
        "%%time\nfrom fer_lib import attention",
        "%%capture out\nfrom fer_lib import attention",
        "%%timeit from fer_lib import attention\npass",
        "%%capture\n%matplotlib inline\n%time from fer_lib import attention",
        "x = %time __import__ and 1\n%load_ext fer_lib.attention",
        "%aimport fer_lib.attention",
    ],
)
def test_what_a_magic_imports_counts(text):
    """IPython executes it; so does the digest depend on the module's text."""
    notebook = {"cells": [cell(text)]}
    assert "fer_lib/attention.py" in source_code.reached(source_code.notebook_code(notebook))


def test_ipython_executes_what_the_digest_takes_for_python():
    """What IPython's own shell imports is what is followed: no more, no less."""
    shell = InteractiveShell()
    for text in (
        "%%capture out\nimport fer_lib.attention as a",
        "%timeit -n 1 -r 1 import fer_lib.attention",
    ):
        shell.run_cell(text).raise_error()
        assert "import fer_lib.attention" in source_code.notebook_code({"cells": [cell(text)]})
    assert shell.user_ns["a"].__name__ == "fer_lib.attention"


def test_many_magics_within_magics_come_to_an_end():
    with within(20):
        for text in ("%%time\n" * 2000, "%time " * 2000, "%x\n" * 100, "%x " + "a " * 10_000, "(" * 10_000):
            try:
                source_code.notebook_code({"cells": [cell(text)]})
            except UsageError as error:
                assert "\n" not in str(error)


# -------------------------------------------------------------------------------- what papermill was given


def shell_of(notebook: Any, *before: str) -> InteractiveShell:
    """Execute a notebook up to its settings, as its kernel does, in IPython's own shell."""
    shell = InteractiveShell()
    for text in (*before, *(each["source"] for each in notebook["cells"] if each["cell_type"] == "code")):
        if "checking.collect" in text:
            shell.run_cell(SETTINGS, store_history=True).raise_error()
            return shell
        shell.run_cell(text, store_history=True).raise_error()
    raise AssertionError("no settings")


SETTINGS = f"from fer_tools import checking\nsettings = checking.collect({STAGE!r}, globals())"


def parameterized(change: Callable[[dict], Any] | None = None, **given: Any) -> Any:
    """Return the notebook as papermill would execute it."""
    notebook = read_json(ROOT / "notebooks" / "02_training.ipynb")
    if change:
        change(notebook)
    return parameterize_notebook(loaded(notebook), given)


def loaded(notebook: Any) -> Any:
    """Return a notebook as papermill reads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_notebook_node(nbformat.from_dict(notebook) if isinstance(notebook, dict) else notebook)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epoch": 1}, "parameter 'epoch': unknown; valid names are augmentation_strength"),
        ({"epochs": 1, "window": 3}, "parameter 'window': unknown"),  # another notebook's
        ({"epochs": "1"}, "parameter epochs = '1'"),
        ({"learning_rate": float("inf")}, "parameter learning_rate = inf"),
        ({"epoch": float("nan")}, "parameter 'epoch': unknown"),
    ],
)
def test_what_papermill_was_given_in_error_is_refused(given, said):
    assert refusal(shell_of, parameterized(**given)).startswith(said)


@pytest.mark.parametrize(
    ("given", "change"),
    [
        ({"epochs": 1}, tagged()),
        ({"classes": ["happy", "sad"]}, tagged()),
        ({"data": 'it\'s "mine"'}, tagged()),
        ({"weight_average": 0}, lambda n: n["cells"].insert(3, copy.deepcopy(n["cells"][DEFAULTS]))),
    ],
)
def test_what_a_lost_or_second_tag_would_override_is_refused(given, change):
    (name,) = given
    message = refusal(shell_of, parameterized(change, **given))
    assert message.startswith(f"parameter {name!r}: {given[name]!r} is given, and the notebook then sets ")


def test_a_default_that_is_gone_is_named():
    message = refusal(shell_of, parameterized(defaults("epochs = 50", "epoch = 50"), seed=1))
    assert message == "parameter 'epochs': the notebook does not set it; restore its line"


GIVEN_RIGHT: list[dict[str, Any]] = [
    {},
    {"epochs": 1},
    {"epochs": 50, "train_samples": None, "classes": ["sad", "müde"], "learning_rate": 1e-05, "warm_up": 0.0},
    {"data": "a 'b' \"c\" \\ {d} %run ü", "seed": 0, "weight_average": 0, "run": ""},
    {"PAPERMILL_INPUT_PATH": "a.ipynb", "PAPERMILL_OUTPUT_PATH": "b.ipynb", "seed": 3},
]


@pytest.mark.parametrize("given", GIVEN_RIGHT)
def test_what_is_right_is_taken(given):
    shell = shell_of(parameterized(**given))
    values = {name: value for name, value in given.items() if not name.startswith("PAPERMILL")}
    assert shell.user_ns["settings"] == checking.build(STAGE, values)


@pytest.mark.parametrize(
    "before",
    [
        "%xmode Plain",
        "import math\nfrom math import pi\nEPOCH = 3",
        "__vsc_ipynb_file__ = '/x/02_training.ipynb'",
        "# Parameters of mine\nspeed = 3",
        "# Parameters\nfor speed in range(3): pass",
        "def epoch(): return 1",
    ],
)
def test_variables_of_other_origin_raise_no_alarm(before):
    for notebook in (parameterized(), parameterized(epochs=2)):
        assert shell_of(notebook, before).user_ns["settings"].data == "bundled"
    assert refusal(shell_of, parameterized(epoch=2), before).startswith("parameter 'epoch': unknown")


def test_whoever_executes_cells_by_hand_is_not_held_to_what_was_given():
    """A notebook that papermill saved, opened in an editor: cells again, others, another default."""
    shell = shell_of(parameterized(epochs=2))
    for text in ("speed = 3", "epochs = 7", SETTINGS):
        shell.run_cell(text, store_history=True).raise_error()
    assert shell.user_ns["settings"].epochs == 7
    shell.run_cell("epochs = 'x'", store_history=True)
    with pytest.raises(UsageError, match="parameter epochs = 'x'"):
        shell.run_cell(SETTINGS, store_history=True).raise_error()


@pytest.mark.parametrize(
    ("given", "change", "said"),
    [
        ({"epoch": 1}, lambda n: None, "UsageError: parameter 'epoch': unknown; valid names are"),
        (
            {"epochs": 1},
            tagged(),
            "UsageError: parameter 'epochs': 1 is given, and the notebook then sets 50",
        ),
    ],
)
def test_plain_papermill_stops_before_a_run(tmp_path, monkeypatch, given, change, said):
    """With a kernel: the cells above the settings, and the settings, which are enough of a notebook."""
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    notebook = read_json(ROOT / "notebooks" / "02_training.ipynb")
    change(notebook)
    place, executed = tmp_path / "02_training.ipynb", tmp_path / "executed.ipynb"
    place.write_text(json.dumps(notebook), encoding="utf-8")
    with pytest.raises(PapermillExecutionError) as caught:
        papermill.execute_notebook(place, executed, given, cwd=str(ROOT), progress_bar=False)
    assert str(caught.value).strip().splitlines()[-1].startswith(said)
    assert not list(tmp_path.rglob("run.json"))


# ---------------------------------------------------------------------- what papermill and nbformat take


def small() -> dict:
    """Return a notebook that has one of everything."""
    shown = {"output_type": "display_data", "data": {"text/plain": ["a"]}, "metadata": {}}
    printed = {"output_type": "stream", "name": "stdout", "text": ["a\n"]}
    result = {"output_type": "execute_result", "execution_count": 1, "data": {}, "metadata": {}}
    failed = {"output_type": "error", "ename": "A", "evalue": "b", "traceback": ["c"]}
    text = cell("![](attachment:x.png)", "markdown") | {"attachments": {"x.png": {"image/png": "aaaa"}}}
    run = cell("a = 2", tags=["mine"], papermill={"a": 1}) | {"outputs": [shown, printed, result, failed]}
    cells = [
        text,
        cell("a = 1", tags=["parameters"]),
        run | {"id": "other"},
        cell("x", "raw") | {"id": "raw"},
    ]
    about = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python", "version": "3"},
        "papermill": {"parameters": {}},
    }
    return {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}


OTHERS = (None, True, 3, -1, "x", "", [], [1], ["x"], {}, {"a": 1}, [{}], [{"a": 1}])


def altered(value: Any) -> Iterator[Any]:
    """Yield a JSON value with one thing missing or another, once for each thing and each other."""
    for key in value if isinstance(value, dict) else range(len(value)):
        rest = copy.copy(value)
        del rest[key]
        yield rest
        inner = altered(value[key]) if isinstance(value[key], dict | list) else ()
        for other in (*OTHERS, *inner):
            changed = copy.copy(value)
            changed[key] = copy.deepcopy(other)
            yield changed


def is_read(path: Path, notebook: Any) -> bool:
    path.write_text(json.dumps(notebook), encoding="utf-8")
    try:
        notebooks.read(path)
    except UsageError as error:
        assert len(str(error).splitlines()) == 1
        return False
    return True


def is_taken_by_papermill(notebook: Any) -> bool:
    """Whether papermill can do all but execute: read, parameterize, note the way of each cell, save."""
    try:
        given = parameterize_notebook(loaded(copy.deepcopy(notebook)), {"a": 3}, kernel_name="python3")
        manager = NotebookExecutionManager(given, progress_bar=False)
        manager.notebook_start()
        for each in given.cells:
            manager.cell_start(each)
            manager.cell_complete(each)
        manager.notebook_complete()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nbformat.reads(nbformat.writes(given), as_version=4)
        return True
    except Exception:
        return False


def is_valid(notebook: Any) -> bool:
    """Whether nbformat says that it is valid, and papermill that it is in Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = nbformat.from_dict(copy.deepcopy(notebook))
            nbformat.validate(found)
            return found.nbformat == 4 and nb_language(found) == "python"
        except Exception:
            return False


def test_what_is_read_papermill_takes_and_what_is_valid_is_read(tmp_path, monkeypatch):
    """Each thing of a notebook is left out or replaced; nbformat and papermill themselves are asked."""
    monkeypatch.setattr(logging.getLogger("traitlets"), "disabled", True)
    monkeypatch.setattr(logging.getLogger("papermill"), "disabled", True)
    path, counts = tmp_path / "a.ipynb", {True: 0, False: 0}
    assert is_read(path, small()) and is_taken_by_papermill(small()) and is_valid(small())
    for notebook in altered(small()):
        ours = is_read(path, notebook)
        counts[ours] += 1
        assert not ours or is_taken_by_papermill(notebook), notebook
        assert ours or not (is_valid(notebook) and is_taken_by_papermill(notebook)), notebook
    print(f"{counts[True]} altered notebooks are read, {counts[False]} are refused")
    assert min(counts.values()) > 100
