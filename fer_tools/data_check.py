"""Data that notebooks could not work with are refused before a run begins."""

import warnings
from typing import Any

from fer_lib.data import load


def check(settings: Any, drawn: bool = True) -> None:
    """Refuse what the notebooks would refuse of the data, before a run begins, and in the same words.

    What they read is read, and stays in the cache, from which they take it: it costs nothing twice.

    Parameters
    ----------
    settings : as in `load.load_split`
    drawn : bool
        Whether the split is drawn, too. A study leaves it out, of which a point may fail.

    Raises
    ------
    UsageError
        If anything is wrong with the data, or if no split can be drawn from them.
    """
    test_data = settings.test_data or settings.data
    load.class_counts(settings.data, settings.classes, "train")  # at first what no image has to be read for
    load.class_counts(test_data, settings.classes, "test")
    for data in (settings.data, test_data):
        load.data_digest(data)  # of all classes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the notebooks say how many images were converted
        if drawn:
            load.load_split(settings)
        else:
            load.load_training(settings.data, settings.classes)
            load.pixel_digests_of_test_images(test_data, settings.classes)
