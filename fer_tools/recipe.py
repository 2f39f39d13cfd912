"""What a training was set up with: as metrics, and as the table of the report."""

from typing import TYPE_CHECKING, Any

from fer_lib import models, training
from fer_tools import checking

if TYPE_CHECKING:
    import pandas as pd

SHOWN = {"samples": "images drawn", "images": "training images"}  # other names in the table than in metrics
# The report says them in its text, and `teacher` as targets.
ELSEWHERE = {"data", "test_data", "model", "train_samples", "duplicates", "teacher"}


def setup(settings: Any, images: int, validation_images: int, targets: str = "labels") -> dict[str, Any]:
    """Return what the training consists of, as the metrics `training.*`.

    Parameters
    ----------
    settings : Training
        Of `fer_tools.parameters`.
    images, validation_images : int
        How many there are of each.
    targets : str
        What the network is to say of the training images; see `teachers.lesson`.
    """
    if settings.mixing:
        last = training.mixed_epochs(settings.epochs)
        targets += f"; until epoch {last} a share of {settings.mixing:.0%} is mixed, as the images are"
    return {
        "optimizer": "AdamW" if settings.weight_decay else "Adam",
        "learning_rate": settings.learning_rate,
        "loss": "categorical cross-entropy",
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "steps_per_epoch": -(-images // settings.batch_size),
        "samples": images + validation_images,
        "images": images,
        "validation_images": validation_images,
        "validation_share": settings.validation_share,
        "targets": targets,
    }


def network(settings: Any, built: Any) -> dict[str, Any]:
    """Return name, size and input of the network that was built, as the metrics `model.*`."""
    facts = {"name": settings.model, "limit": models.PARAMETER_LIMIT, "input": _input(settings)}
    return facts | models.parameter_counts(built)


def table(settings: Any, setup: dict[str, Any]) -> "pd.DataFrame":
    """Tabulate `setup` and every parameter that the network or its training has, one row each."""
    import pandas as pd

    facts = setup | {"input": _input(settings), "classes": ", ".join(settings.classes)}
    left_out = ELSEWHERE | models.ignored(settings.model)
    for name, value in checking.plain(settings).items():
        if name not in left_out:
            facts.setdefault(name, value)
    rows = [
        (SHOWN.get(name, name.replace("_", " ")), f"{value:,}" if isinstance(value, int) else str(value))
        for name, value in facts.items()
    ]
    return pd.DataFrame(rows, columns=["setting", "value"])


def _input(settings: Any) -> str:
    size = models.image_size(settings.model)
    return f"{size}x{size}x1"
