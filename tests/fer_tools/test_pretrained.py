"""The trained network that comes with the package: its card and its curve are made from what was measured."""

import copy
import importlib
import re

import pytest

from fer_lib.figures import style
from fer_tools import checking, model_card, pretrained


@pytest.fixture
def facts():
    return copy.deepcopy(pretrained.facts())


def test_two_networks_are_shipped_and_one_is_meant_where_none_is_named():
    assert pretrained.names() == ["optimized_model", "small_model"]
    assert pretrained.path() == pretrained.path("optimized_model") != pretrained.path("small_model")
    assert pretrained.of_digest(None) is None and pretrained.of_digest("0" * 64) is None


@pytest.mark.parametrize("name", pretrained.names())
def test_the_committed_card_and_curve_are_what_is_made(name, tmp_path):
    path, facts = pretrained.path(name), pretrained.facts(name)
    assert path.with_suffix(".md").read_text(encoding="utf-8") == model_card.card(facts)
    style.save(model_card.curve(facts), tmp_path / path.stem, kinds=("svg",))
    assert (tmp_path / f"{path.stem}.svg").read_bytes() == path.with_suffix(".svg").read_bytes()


def test_the_curve_shows_validation_accuracy_and_nothing_else(facts):
    """What others measured on test images is not comparable: no line and no word of it."""
    facts["seeds"][0]["val_accuracy"][-1] = 0.87349  # 87.3 %, and 87.4 % if rounded twice
    (ax,) = model_card.curve(facts).axes
    drawn = [list(line.get_ydata()) for line in ax.lines]
    measured = [row["val_accuracy"] for row in facts["seeds"]]
    assert sorted(drawn) == sorted(measured) and ax.get_ylabel() == "validation accuracy"
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["87.3 %"]


def test_the_card_says_how_to_train_it_again(facts):
    parameters = facts["parameters"]
    assert f"Again: `{model_card.command(parameters)}`." in model_card.card(facts)
    plain = checking.resolve("section6", {})["training"]
    assert model_card.command(plain) == "fer run --preset section6"
    small = checking.resolve("taught", {"model": "small_model", "dropout": 0.1})["training"]
    said = model_card.command(small)
    assert said == "fer run --preset taught -p dropout=0.1 -p model=small_model"
    two = plain | {"classes": ["sad", "happy"]}
    assert model_card.command(two) == "fer run --preset section6 -p classes=sad,happy"


def test_the_card_says_how_its_own_network_is_used(facts):
    assert "`fer predict IMAGE...` uses it" in model_card.card(facts)
    facts["parameters"]["model"] = "small_model"
    assert "`fer predict --model small_model IMAGE...` uses it" in model_card.card(facts)


def test_the_card_names_what_exists(facts):
    names = re.findall(r"`(fer_lib[\w.]*)`", model_card.card(facts))
    assert names
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name


def test_the_card_of_another_network(facts):
    facts["classes"] = ["cat", "{dog}"]  # braces: a name is not a template
    for key, value in {"precision": 0.5, "recall": 0.25, "f1": 1 / 3}.items():
        facts["metrics"] |= {f"test.{key}.{name}": value for name in facts["classes"]}
    facts["metrics"] |= {"data.test.cat": 1200, "data.test.{dog}": 7}
    facts["seeds"] = facts["seeds"][:1]
    facts["machine"]["threads"], facts["minutes"] = 4, 77.1
    card = model_card.card(facts)
    assert "Tells *cat*, *{dog}* apart" in card and "- It knows 2 classes" in card
    assert "| cat | 50.0% | 25.0% | 33.3% | 1,200 |\n| {dog} | 50.0% | 25.0% | 33.3% | 7 |\n" in card
    assert "77.1 minutes with 4 threads on a machine" in card
    assert "standard deviation" not in card  # of one there is none
    assert "minutes of training, 4 threads" in model_card.curve(facts).axes[0].get_xlabel()
