"""Parameters: names, defaults, types and ranges, and that they are data whatever they say."""

import ast
import json
import math
from dataclasses import MISSING, asdict, fields
from typing import Any, get_type_hints

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fer_lib import models, training
from fer_lib.data.faces import can_be_class
from fer_lib.data.readers.source import FER2013_CLASSES
from fer_lib.files import UsageError
from fer_tools import checking, parameters
from fer_tools.json_files import read_json
from fer_tools.kinds import Classes, Number, Text
from fer_tools.stages import STAGES

INJECTIONS = [
    '"); import os; os.system("touch /tmp/owned") #',
    "__import__('os').getcwd()",
    "{{ cookiecutter }}",
    "$(id)",
    "`id`; id",
    "../../../etc/passwd",
    "%run x.py",
]


def parameters_cell(stage: str) -> dict:
    """Names and values of a notebook's `parameters` cell, read as literals: nothing is executed."""
    notebook = read_json(STAGES[stage].path)
    cells = [c for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", [])]
    assert len(cells) == 1
    statements = ast.parse("".join(cells[0]["source"])).body
    assert all(isinstance(node, ast.Assign) and len(node.targets) == 1 for node in statements)
    return {node.targets[0].id: ast.literal_eval(node.value) for node in statements}


def defaults(stage: str) -> dict[str, Any]:
    """Return the default of each parameter of a stage."""
    return {f.name: f.default for f in fields(STAGES[stage].parameters) if f.default is not MISSING}


def one_line(caught: pytest.ExceptionInfo[UsageError], *said: str) -> None:
    assert "\n" not in str(caught.value)
    for text in said:
        assert text in str(caught.value)


@pytest.mark.parametrize("stage", STAGES)
def test_the_notebook_says_what_the_dataclass_says(stage):
    cell = parameters_cell(stage)
    stated = asdict(STAGES[stage].parameters())
    assert set(cell) == set(stated)  # the cell has them in the order of their use, rare ones last
    for name, default in stated.items():
        expected = list(default) if isinstance(default, tuple) else default
        assert (type(cell[name]), cell[name]) == (type(expected), expected), name
    assert checking.collect(stage, cell) == STAGES[stage].parameters()


@pytest.mark.parametrize("stage", STAGES)
def test_defaults_are_of_their_type_and_in_their_range(stage):
    assert checking.build(stage, defaults(stage)) == checking.build(stage, {})
    assert set(defaults(stage)) == set(checking.names(stage))


def test_stages_that_share_a_parameter_agree_on_its_default():
    exploration, training = defaults("exploration"), defaults("training")
    assert all(training[name] == value for name, value in exploration.items())


def test_every_number_states_its_range():
    for stage in STAGES.values():
        for f in fields(stage.parameters):
            if get_type_hints(stage.parameters)[f.name] in (int, float, int | None):
                kind = f.metadata["kind"]
                assert kind.low <= f.default <= kind.high and kind.why, f.name


def test_the_kind_of_a_parameter_is_that_of_its_type_hint():
    for stage in STAGES.values():
        hints = get_type_hints(stage.parameters)
        for f in fields(stage.parameters):
            kind = f.metadata["kind"]
            if isinstance(kind, Number):
                expected = (int | None if kind.optional else int) if kind.whole else float
            else:
                expected = {Text: str, Classes: tuple[str, ...]}[type(kind)]
            assert hints[f.name] == expected, f.name


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", True, "a whole number"),
        ("epochs", 5.0, "a whole number"),
        ("epochs", "5", "a whole number"),
        ("epochs", None, "a whole number"),
        ("epochs", np.int64(5), "a whole number"),
        ("epochs", 0, "1 to"),
        ("epochs", -3, "1 to"),
        pytest.param("epochs", 10**400, "1 to", id="epochs-too-large-for-a-float"),
        ("batch_size", 10**9, "1 to"),
        ("learning_rate", "1e-3", "a number"),  # as YAML reads it
        ("learning_rate", math.nan, "a number"),
        ("learning_rate", math.inf, "a number"),
        ("learning_rate", -math.inf, "a number"),
        ("learning_rate", False, "a number"),
        ("learning_rate", 0, "1e-08 to"),
        pytest.param("learning_rate", 10**400, "1e-08 to", id="learning_rate-too-large-for-a-float"),
        ("dropout", 1, "0 to"),
        ("seed", -1, "0 to"),
        ("seed", 2**31, "0 to"),
        ("train_samples", 0, "10 to"),
        ("train_samples", "null", "a whole number"),
        ("validation_share", 1.0, "0.01 to"),
        ("duplicates", "Keep", "one of remove, keep"),
        ("duplicates", 3, "one line of text"),
        ("model", "resnet", "one of"),
        ("data", None, "one line of text"),
        ("data", "a\nb", "one line of text"),
        ("data", "a\0b", "one line of text"),
        ("classes", "happy", "a list of names of classes"),
        ("classes", None, "a list of names of classes"),
        ("classes", {"happy": 1, "sad": 2}, "a list of names of classes"),
        ("classes", ["happy"], "two or more different"),
        ("classes", ["happy", "happy"], "two or more different"),
        ("classes", ["happy", ""], "two or more different"),
        ("classes", ["happy", "../joy"], "'../joy' cannot be one"),
        ("classes", ["happy", "total"], "'total' cannot be one"),
        ("classes", ["happy", 3], "two or more different"),
        ("classes", [["happy"], "sad"], "two or more different"),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_refused(name, value, expected):
    with pytest.raises(UsageError) as caught:
        checking.build("training", {name: value})
    one_line(caught, f"parameter {name}", expected)
    assert str(caught.value).count("expected ") == 1


def test_a_warm_up_that_nothing_would_heed_is_refused():
    with pytest.raises(UsageError) as caught:
        checking.build("training", {"warm_up": 0.1})
    one_line(caught, "parameter warm_up = 0.1", "cosine")
    assert checking.build("training", {"warm_up": 0.1, "schedule": "cosine"}).warm_up == 0.1


@pytest.mark.parametrize("window", [0, 1000, 4])
def test_the_window_is_odd(window):
    with pytest.raises(UsageError) as caught:
        checking.build("overfitting", {"window": window})
    one_line(caught, "parameter window", "odd")


def test_an_unknown_name_is_refused_with_the_valid_ones():
    with pytest.raises(UsageError) as caught:
        checking.build("training", {"epoch": 3})
    one_line(caught, "'epoch'", "epochs", "learning_rate", "seed")
    with pytest.raises(UsageError, match="window"):
        checking.build("training", {"window": 3})  # another stage's


def test_right_values_are_taken_as_they_are():
    built = checking.build(
        "training", {"learning_rate": 1, "train_samples": None, "classes": ["sad", "fear"], "epochs": 10_000}
    )
    assert (built.learning_rate, type(built.learning_rate)) == (1.0, float)
    assert built.train_samples is None and built.classes == ("sad", "fear") and built.epochs == 10_000
    assert checking.build("training", {"classes": ["happy", "joy"]}).classes == (
        "happy",
        "joy",
    )  # of any data


def test_collect_takes_what_the_notebook_says_and_nothing_else():
    variables = {"epochs": 7, "pd": object(), "classes": ["sad", "fear"], "window": "not of this notebook"}
    collected = checking.collect("training", variables)
    assert (collected.epochs, collected.classes) == (7, ("sad", "fear"))
    with pytest.raises(UsageError, match="epochs"):
        checking.collect("training", {"epochs": "7"})


@pytest.mark.parametrize("text", INJECTIONS)
def test_text_is_data_and_never_code(text):
    assert checking.parse([f"data={text}"]) == {"data": text}
    assert checking.build("training", {"data": text}).data == text
    for name in ("model", "duplicates", "classes"):
        with pytest.raises(UsageError):
            checking.resolve("smoke", checking.parse([f"{name}={text}"]))
    for name in ("epochs", "learning_rate", "train_samples"):
        with pytest.raises(UsageError):
            checking.parse([f"{name}={text}"])


@pytest.mark.parametrize("text", INJECTIONS)
def test_papermill_writes_text_as_a_literal(text):
    """What arrives in the notebook is the text itself."""
    from papermill.translators import PythonTranslator

    assigned = ast.parse(PythonTranslator.codify({"data": text})).body
    assert [ast.literal_eval(node.value) for node in assigned] == [text]


def test_parse_reads_each_type():
    given = [
        "epochs=1_000",
        "learning_rate=1e-3",
        "train_samples=null",
        "data=a=b",
        "classes=sad, fear",
        "dropout=0",
    ]
    assert checking.parse(given) == {
        "epochs": 1000,
        "learning_rate": 1e-3,
        "train_samples": None,
        "data": "a=b",
        "classes": ["sad", "fear"],
        "dropout": 0.0,
    }
    assert checking.parse([]) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epochs", "expected name=value"),
        ("=3", "unknown"),
        ("epoch=3", "valid names are"),
        ("run=x", "unknown"),  # `--resume` is the way
        ("epochs=", "a whole number"),
        ("epochs=1.5", "a whole number"),
        ("epochs=null", "a whole number"),
        ("learning_rate=fast", "a number"),
        ("learning_rate=none", "a number"),
        ("a\nb", "expected name=value"),
        ("a\nb=3", "unknown"),
        ("epochs=3\n4", "a whole number"),
        pytest.param("epochs=" + "9" * 5000, "a whole number", id="5000-digits"),
    ],
)
def test_parse_refuses_what_is_not_a_value(text, said):
    with pytest.raises(UsageError) as caught:
        checking.parse([text])
    one_line(caught, said)


def test_resolve_lets_the_given_win_over_the_preset_and_that_over_the_default():
    resolved = checking.resolve("smoke", {"epochs": 2})
    assert list(resolved) == ["exploration", "training", "overfitting", "evaluation"]
    assert resolved["training"]["epochs"] == 2
    assert resolved["training"]["train_samples"] == parameters.smoke()["train_samples"]
    assert resolved["training"]["learning_rate"] == defaults("training")["learning_rate"]
    assert resolved["exploration"]["train_samples"] == resolved["training"]["train_samples"]
    assert all("run" not in values for values in resolved.values())
    assert json.loads(json.dumps(resolved)) == resolved  # plain values, as papermill and run.json take them
    for stage, values in resolved.items():
        assert checking.plain(checking.build(stage, values)) == values


@pytest.mark.parametrize(
    ("preset", "given", "said"),
    [
        ("section9", {}, "section5, section6, section8, sim2real, smoke"),
        ("", {}, "section5, section6, section8, sim2real, smoke"),
        ("smoke", {"epoch": 1}, "valid names"),
        ("smoke", {"run": "x"}, "valid names"),
        ("smoke", {"epochs": "1"}, "a whole number"),
    ],
)
def test_resolve_refuses(preset, given, said):
    with pytest.raises(UsageError) as caught:
        checking.resolve(preset, given)
    one_line(caught, said)


def test_empty_data_is_refused():
    """An unset shell variable must not mean the current folder."""
    with pytest.raises(UsageError, match="data"):
        checking.resolve("smoke", {"data": ""})


@pytest.mark.parametrize("preset", parameters.PRESETS)
def test_a_preset_says_what_it_does_and_the_command(preset):
    function = parameters.PRESETS[preset]
    assert function.__name__ == preset
    first, *rest = function.__doc__.strip().splitlines()
    assert first.endswith(".") and any(f"fer run --preset {preset}" in line for line in rest)
    checking.resolve(preset, {})


def test_section5_is_the_assignment():
    training = checking.resolve("section5", {})["training"]
    expected = {
        "model": "basic_model",
        "train_samples": 5000,
        "validation_share": 0.2,
        "epochs": 50,
        "dropout": 0.3,
    }
    assert {name: training[name] for name in expected} == expected
    assert training["classes"] == ["neutral", "happy", "surprise"]


def _texts(name: str, kind: Number | Text | Classes) -> st.SearchStrategy:
    """Values that are allowed, with the text that stands for them."""
    if isinstance(kind, Classes):
        known = st.permutations(FER2013_CLASSES).flatmap(
            lambda order: st.integers(2, 7).map(lambda n: list(order[:n]))
        )
        other = st.text(max_size=12).filter(can_be_class)
        classes = known | st.lists(other, min_size=2, max_size=7, unique=True)
        return classes.map(lambda names: (names, ",".join(names)))
    if isinstance(kind, Text):
        allowed = "aZ9_-" if name == "study" else "abc =/üλ'\""
        texts = st.sampled_from(kind.choices()) if kind.choices else st.text(allowed, min_size=1, max_size=12)
        return texts.map(lambda text: (text, text))
    if not kind.whole:
        return st.floats(kind.low, kind.high).map(lambda value: (value, repr(value)))
    numbers = st.integers(kind.low, kind.high)
    if kind.odd:
        numbers = numbers.filter(lambda value: value % 2)
    pairs = numbers.map(lambda value: (value, str(value)))
    return pairs | st.just((None, "null")) if kind.optional else pairs


@given(st.data(), st.sampled_from(list(STAGES)))
def test_allowed_values_survive_the_command_line(data, stage):
    own = {name: kind for name, kind in checking.kinds(stage).items() if name != "run"}
    chosen = data.draw(st.lists(st.sampled_from(list(own)), unique=True))
    drawn = {name: data.draw(_texts(name, own[name])) for name in chosen}
    values = {name: value for name, (value, _) in drawn.items()}
    assume(not values.get("warm_up") or values.get("schedule") == "cosine")
    assume(not values.get("mixing") or values.get("epochs", 50) > 1)
    assert checking.parse([f"{name}={text}" for name, (_, text) in drawn.items()]) == values
    by = STAGES[stage].optional_by
    given = {by: "any"} if by else {}
    resolved = checking.resolve("section5", given | values).get(stage, {"study": ""})
    assert {name: resolved[name] for name in values} == values


def test_mixing_that_would_never_happen_is_refused():
    with pytest.raises(
        UsageError, match=r"mixing = 0\.4: has no effect with one epoch, .*; leave it at 0, or"
    ) as said:
        checking.resolve("section5", {"mixing": 0.4, "epochs": 1})
    assert "\n" not in str(said.value)
    assert checking.resolve("section5", {"mixing": 0.4, "epochs": 2})["training"]["mixing"] == 0.4
    assert [training.mixed_epochs(epochs) for epochs in (1, 2, 50)] == [0, 1, 42]


def test_only_who_names_a_trace_gets_the_notebook_about_the_game():
    assert "game" not in checking.resolve("section5", {}) | checking.resolve("section5", {"trace": ""})
    assert checking.resolve("section5", {"trace": "mine"})["game"] == {"trace": "mine"}
    assert checking.optional() == ["study", "trace"]


def test_only_who_names_a_study_gets_the_notebook_about_it():
    assert "optimisation" not in checking.resolve("section5", {"study": ""})
    assert checking.resolve("section5", {"study": "mine"})["optimisation"] == {"study": "mine"}


def test_the_models_to_choose_from_are_those_there_are():
    assert "basic_model" in models.names()
    with pytest.raises(UsageError, match="basic_model"):
        checking.build("training", {"model": "../runs"})


@pytest.mark.parametrize("name", ["topic", "repeats"])
def test_a_parameter_of_a_stage_that_a_run_does_not_have_is_refused(name):
    """It would have no effect, and nobody would know."""
    value = {"topic": "cats", "repeats": 5}[name]
    with pytest.raises(UsageError, match=f"parameter {name} = .*07_transfer alone"):
        checking.resolve("section5", {name: value})
    assert checking.resolve("section8", {name: value})["transfer"][name] == value
    with pytest.raises(UsageError, match="parameter dropout_layers = 1: of 02_training alone"):
        checking.resolve("section8", {"dropout_layers": 1})
