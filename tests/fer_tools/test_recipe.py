"""What a training was set up with, as the run and its report have it."""

import pytest

from fer_lib import models
from fer_tools import checking, recipe


def test_the_setup_counts_images_and_steps():
    settings = checking.build("training", {"batch_size": 16, "epochs": 7, "weight_decay": 0.01})
    found = recipe.setup(settings, 48, 12)
    assert (found["images"], found["validation_images"], found["samples"]) == (48, 12, 60)
    assert found["steps_per_epoch"] == 3 and recipe.setup(settings, 49, 12)["steps_per_epoch"] == 4
    assert found["optimizer"] == "AdamW" and found["epochs"] == 7
    assert recipe.setup(checking.build("training", {}), 1, 1)["optimizer"] == "Adam"


def test_of_which_epochs_the_training_loss_is_that_of_mixtures_is_said():
    """Mixed images are the first 34 of 40 epochs: 85 %."""
    settings = checking.build("training", {"epochs": 40, "mixing": 0.4})
    said = recipe.setup(settings, 4, 1, "soft labels of 4")["targets"]
    assert said == "soft labels of 4; until epoch 34 a share of 40% is mixed, as the images are"
    assert recipe.setup(checking.build("training", {}), 4, 1)["targets"] == "labels"


@pytest.mark.parametrize("name", models.names())
def test_the_table_has_each_parameter_of_the_network_and_its_training_once(name):
    settings = checking.build("training", {"model": name, "dropout": 0.4})
    table = recipe.table(settings, recipe.setup(settings, 4000, 1000)).set_index("setting")["value"]
    assert table.index.is_unique
    assert table["training images"] == "4,000" and table["images drawn"] == "5,000"
    assert table["dropout"] == "0.4" and table["seed"] == "0"
    assert table["input"] == {"basic_model": "64x64x1"}.get(name, "48x48x1")
    assert ("zoom" in table) == ("convolutions" in table) == (name == "basic_model")
    assert ("augmentation strength" in table) == (name != "basic_model")
    assert not {"data", "test data", "run", "model", "duplicates"} & set(table.index)


def test_the_network_is_recorded_with_its_limit():
    settings = checking.build("training", {})
    found = recipe.network(settings, models.build("basic_model"))
    assert found == {
        "name": "basic_model", "limit": 150_000, "input": "64x64x1",
        "parameters": 118_531, "trainable": 118_083, "non_trainable": 448,
    }  # fmt: skip
