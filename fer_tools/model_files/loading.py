"""Open somebody else's `.keras` file, once it has been looked at."""

import functools
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fer_lib import tensorflow_import
from fer_lib.files import UsageError
from fer_tools import scratch
from fer_tools.model_files import configuration, cost, inspection, reasons
from fer_tools.model_files.cost import Cost
from fer_tools.model_files.inspection import Contents, refused


def load(path: str | Path) -> Any:
    """Load a `.keras` file, or an HDF5 file under that name as TensorFlow 2.12 wrote it, not compiled.

    Raises
    ------
    UsageError
        As `load_with_cost` does.
    """
    return load_with_cost(path)[0]


def load_with_cost(path: str | Path) -> tuple[Any, Cost]:
    """Load a `.keras` file, and say what an image costs it.

    It is first put together without memory for weights, which shows how large it is and what it computes:
    sizes can be hidden from `inspect`, in a chain of paddings or a tower of concatenations. Only then the
    weights are made.

    Raises
    ------
    UsageError
        If `inspect` refuses the file, its network is too large or too slow, or Keras refuses it.
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
            model = _put_together(contents.config, contents.kind)
            model.load_weights(_weights(copy, contents.kind))
            return model, costs


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
            model = _put_together(contents.config, contents.kind, watched=True)
            return cost.checked(model, contents.values)
    finally:
        # Keras has no public way to forget them, and would give them memory at the next occasion.
        global_state.set_global_attribute("uninitialized_variables", [])


def _put_together(config: dict[str, Any], kind: str, watched: bool = False) -> Any:
    """Make the network that a configuration describes; one that is watched is not built out of bounds."""
    import keras

    makers = {"Sequential": _AllAtOnce} | (_watched_layers() if watched else {})
    plain = configuration.plain(config, zeros=watched)
    maker = _AllAtOnce if plain["class_name"] == "Sequential" else keras.Model
    with keras.saving.custom_object_scope(makers):
        return maker.from_config(plain["config"])


class _AllAtOnce:
    """Makes a Sequential model. Keras' own way builds all layers again after each that is added."""

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        import keras
        from keras.src.legacy.saving import saving_utils

        layers = [
            keras.saving.deserialize_keras_object(layer)
            if "module" in layer
            else saving_utils.model_from_config(layer)  # the older format
            for layer in config["layers"]
        ]
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
