"""Names of classes: what may be one, and what is refused in one line."""

import pytest
from asserting import refusal
from made import OTHER

from fer_lib.data.faces import DEFAULT_CLASSES, LONGEST_NAME, check_classes
from fer_lib.data.readers.source import FER2013_CLASSES, in_order
from fer_lib.files import UsageError


@pytest.mark.parametrize(
    "classes",
    [
        DEFAULT_CLASSES,
        FER2013_CLASSES,
        OTHER,
        ("it's", "-p", "$HOME", "x" * LONGEST_NAME),
        ("بی\u200cتفاوت", "شاد"),
    ],
)
def test_any_two_or_more_names_can_be_classes(classes):
    assert check_classes(list(classes)) == classes


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a,b",
        "a/b",
        "a\\b",
        "..",
        ".hidden",
        " before",
        "after ",
        "two\nlines",
        "two\rlines",
        "two\u2028lines",
        "tab\t",
        "a\u00a0b",
        "nul\0",
        "\x1b[2J",
        "\x9b2J",
        "turned\u202eround",
        "undecodable\udcff",
        "total",
        "name",
        "label",
        "predicted",
        "x" * (LONGEST_NAME + 1),
        "x" * 100_000,
    ],
)
def test_a_name_that_cannot_be_a_class(name):
    message = refusal(check_classes, ("happy", name))
    assert "cannot be one" in message and "two or more different names" in message
    assert message.isprintable() and len(message) < 300
    assert in_order(["happy", name]) == ("happy",)


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ((), "not 0"),
        (("happy",), "not 1"),
        ("happy", "not 'happy'"),
        (("happy", 3), "not ('happy', 3)"),
        (("happy", "sad", "happy"), "'happy' is named twice"),
    ],
)
def test_classes_are_two_or_more_different_names(classes, said):
    assert refusal(check_classes, classes).endswith(said)


def test_those_of_fer2013_come_first_in_their_order():
    mixed = ["zebra", "neutral", "cat", "angry", "Zebra", "angry"]
    assert in_order(mixed) == ("angry", "neutral", "Zebra", "cat", "zebra")
    assert in_order(reversed(FER2013_CLASSES)) == FER2013_CLASSES


def test_too_many_classes_are_refused():
    assert len(in_order(map(str, range(1000)))) == 1000
    with pytest.raises(UsageError, match=r"^data: 1,001 folders of classes, more than 1,000; "):
        in_order(map(str, range(1001)))
