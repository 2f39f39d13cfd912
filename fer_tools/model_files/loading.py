"""Open somebody else's `.keras` file, once it has been looked at."""

import functools
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_lib import tensorflow_import
from fer_lib.files import UsageError
from fer_tools import scratch
from fer_tools.model_files import configuration, cost, inspection, reasons, weights
from fer_tools.model_files.cost import Cost
from fer_tools.model_files.inspection import Contents, refused


@dataclass(frozen=True)
class Opened:
    """A network out of a file.

    Attributes
    ----------
    model : keras.Model
        Not compiled.
    cost : Cost
        Of an image.
    container : str
        "keras 3 zip" or "keras 2 zip", the archives of Keras 3 and of 2.13 to 2.15, or "hdf5".
    keras : str or None
        The version that wrote it, if the file says so.
    notes : tuple of str
        What else is to be said of the file.
    """

    model: Any
    cost: Cost
    container: str
    keras: str | None
    notes: tuple[str, ...]


def load(path: str | Path) -> Any:
    """Load a model file, not compiled.

    Raises
    ------
    UsageError
        As `opened` does.
    """
    return opened(path).model


def opened(path: str | Path) -> Opened:
    """Open a model file that Keras 2 or 3 wrote: an archive, or HDF5 under whatever name.

    It is first put together without memory for weights, which shows how large it is and what it computes:
    sizes can be hidden from `inspect`, in a chain of paddings or a tower of concatenations. Only then the
    weights are made.

    Raises
    ------
    UsageError
        If `inspect` refuses the file, its network is too large or too slow, its weights are not those of its
        network, or Keras refuses it.
    """
    with scratch.folder() as folder:
        # A copy: what is looked at is what is loaded, whoever writes to the file meanwhile.
        copy = folder / "model.h5"
        with inspection.opened(path) as theirs, open(copy, "w+b") as ours:
            shutil.copyfileobj(theirs, ours)
            ours.seek(0)
            contents = inspection.look(path, ours)
        tensorflow_import.import_tensorflow()
        import fer_lib.augmentation  # noqa: F401  (registers our layers, and those of fer_lib.layers)

        with _errors(path, contents):
            costs = _looked_at(contents)
            model = _put_together(contents.config)
            notes = weights.load(model, contents.config, _weights(copy, contents.kind))
            return Opened(model, costs, contents.kind, contents.keras, tuple(notes))


@contextmanager
def _errors(path: str | Path, contents: Contents) -> Iterator[None]:
    """Make one line of whatever the broken part of a file makes Keras raise."""
    import keras

    filtered = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()  # it takes away what says which layer it was
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras' advice to whoever saved it
            yield
    except UsageError:
        raise
    except configuration.Refused as error:
        raise refused(path, str(error)) from error
    except Exception as error:
        raise refused(path, reasons.of(error)) from error
    finally:
        if filtered:
            keras.config.enable_traceback_filtering()


def _looked_at(contents: Contents) -> Cost:
    """Put the network together without memory for weights, and return what it costs."""
    import keras
    from keras.src.backend.common import global_state

    try:
        with keras.StatelessScope(initialize_variables=False):
            model = _put_together(contents.config, watched=True)
            return cost.checked(model, contents.values)
    finally:
        # Keras has no public way to forget them, and would give them memory at the next occasion.
        global_state.set_global_attribute("uninitialized_variables", [])


def _put_together(config: dict[str, Any], watched: bool = False) -> Any:
    """Make the network that a configuration describes; one that is watched is not built out of bounds."""
    import keras

    makers = {"Sequential": _AllAtOnce, "Functional": keras.Model, "Model": keras.Model}
    plain = configuration.plain(config, zeros=watched)
    with keras.saving.custom_object_scope(makers | (_watched_layers() if watched else {})):
        return makers[plain["class_name"]].from_config(plain["config"])


class _AllAtOnce:
    """Makes a Sequential model. Keras' own way builds all layers again after each that is added."""

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        import keras

        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        model = keras.Sequential(layers, name=config["name"])
        shape = config.get("build_input_shape")
        if shape and not hasattr(model, "input_shape"):
            model.build(shape)
        return model


class _Watched:
    """Makes layers of a class that are not built for maps out of bounds: some keep arrays of that size."""

    def __init__(self, made: type) -> None:
        self.made = made

    def from_config(self, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Make a layer."""
        layer = self.made.from_config(config)
        build = layer.build

        @functools.wraps(build)  # Keras goes by the names of its arguments
        def watched(*shapes: Any, **named: Any) -> None:
            for shape in (*shapes, *named.values()):
                cost.check_shape(shape)
            build(*shapes, **named)

        layer.build = watched
        return layer


def _watched_layers() -> dict[str, _Watched]:
    import keras

    return {name: _Watched(getattr(keras.layers, name)) for name in configuration.LAYERS}


def _weights(copy: Path, kind: str) -> Path:
    """Return the file of weights, by a name from which Keras knows its format."""
    if kind == "hdf5":
        return copy
    with zipfile.ZipFile(copy) as archive:
        return Path(archive.extract("model.weights.h5", copy.parent))
