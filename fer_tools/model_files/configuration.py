"""What the configuration of somebody else's network says: looked at, and made plain for Keras."""

from collections.abc import Iterator
from typing import Any

MOST_VALUES = 2**25  # of all weights, or of one image's maps: 128 MB as float32; ResNet50 has 25,600,000
MOST_LAYERS = 500  # the assignment's network has 20, DenseNet121 427
MOST_CALLS = 1_000  # of layers, while a network of networks is put together
MOST_OURS = 8  # layers of fer_lib, which keep matrices; our own network has one
DEEPEST = 60
LONGEST_NAME = 200  # characters: every variable in a layer repeats it
# Layers whose configuration holds numbers and names of functions only, and what belongs to them.
LAYERS = set(
    "InputLayer Rescaling Normalization CenterCrop Resizing RandomFlip RandomRotation RandomZoom "
    "RandomTranslation RandomContrast RandomBrightness RandomCrop GaussianNoise GaussianDropout "
    "Conv2D DepthwiseConv2D SeparableConv2D BatchNormalization LayerNormalization GroupNormalization "
    "Activation ReLU LeakyReLU PReLU ELU Softmax MaxPooling2D AveragePooling2D GlobalAveragePooling2D "
    "GlobalMaxPooling2D Flatten Dense Dropout SpatialDropout2D Add Multiply Average Maximum "
    "Concatenate Reshape Permute ZeroPadding2D Cropping2D".split()
)
MODELS = {"Functional", "Sequential", "Model"}
ALLOWED = (
    LAYERS
    | MODELS
    | set(
        "__keras_tensor__ __tuple__ DTypePolicy Policy Zeros Ones Constant "
        "RandomNormal RandomUniform TruncatedNormal VarianceScaling GlorotUniform GlorotNormal HeUniform "
        "HeNormal LecunUniform LecunNormal Orthogonal L1 L2 L1L2 MaxNorm NonNeg UnitNorm MinMaxNorm".split()
    )
)
FLOATS = {"float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"}
INTEGERS = {"uint8", "int32", "int64"}  # of an input alone
SIZES = (
    "filters units depth_multiplier kernel_size pool_size strides height width target_shape padding groups "
    "output_dim dilation_rate cropping".split()
)
UNKNOWN = {  # what Keras 2 writes of a class, which means nothing and is refused by Keras 3
    "SpatialDropout2D": ("trainable", "noise_shape"),
    "DepthwiseConv2D": ("groups",),
    "SeparableConv2D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
}
CHANGED = {"RandomCrop", "hard_sigmoid"}
ADVICE = "make the network of layers that Keras has for images, without Lambda"
OURS = "fer_lib>"  # prefix of what fer_lib registers
OUR_LAYERS = ("RandomPhotograph",)  # what of that a saved network holds
OUR_MODULES = (None, "fer_lib.layers", "fer_lib.augmentation")  # all were in the first once


class Refused(Exception):
    """Why a file is not opened."""


def require(fine: bool, otherwise: str) -> None:
    """Refuse the file, and say why, if something about it is not fine."""
    if not fine:
        raise Refused(otherwise)


def check(config: Any, old: bool = False) -> None:
    """Refuse layers that are not for faces, and sizes that would fill the memory before a weight is read.

    Parameters
    ----------
    config : dict
        Of a model.
    old : bool
        Whether Keras 2 wrote it.

    Raises
    ------
    Refused
        If anything about it is not as it should be.
    """
    is_model = isinstance(config, dict) and isinstance(config.get("config"), dict)
    require(is_model, "no configuration of a model")
    # What Keras would compile the model with is not used.
    found = list(entries({key: value for key, value in config.items() if key != "compile_config"}))
    estimate, layers, ours, shared = _Estimate(), 0, 0, set()
    for entry in found:
        name, own, is_ours = entry["class_name"], entry.get("config"), _is_ours(entry)
        allowed = is_ours or _is_of_keras(entry)
        require(allowed, f"layer or object {str(name)[:60]!r} is not among those allowed here; {ADVICE}")
        _check_type(entry)
        if old and isinstance(own, dict):
            changed = CHANGED & {name, str(own.get("activation"))}
            told = f"Keras 3 computes {' and '.join(changed)} otherwise than Keras 2, which saved it"
            require(not changed, f"{_called(entry)}: {told}")
        if is_ours or name in LAYERS | MODELS:
            layers, ours = layers + 1, ours + is_ours
            require(layers <= MOST_LAYERS, f"more than {MOST_LAYERS} layers")
            require(ours <= MOST_OURS, f"more than {MOST_OURS} layers of fer_lib")
            _check_identity(entry, shared)
        if isinstance(own, dict) and (is_ours or name in LAYERS):
            estimate.add(name, _checked_sizes(name, own), _checked_shape(name, own))
    require(config.get("class_name") in MODELS, f"{str(config.get('class_name'))[:60]!r} is no network")
    _calls(config)


def _check_identity(entry: dict[str, Any], shared: set[Any]) -> None:
    """Refuse a layer whose name is none, and one that stands for another one, however large that is."""
    own = entry.get("config")
    names = [entry.get("name")] + ([own.get("name")] if isinstance(own, dict) else [])
    for name in names:
        fine = name is None or (isinstance(name, str) and len(name) <= LONGEST_NAME)
        require(fine, f"{entry['class_name'][:60]} with the name {str(name)[:60]!r}")
    identity = entry.get("shared_object_id")
    fine = identity is None or (type(identity) is int and identity not in shared)
    require(fine, f"{_called(entry)} is shared between networks; save each layer once")
    shared.add(identity)


def _check_type(entry: dict[str, Any]) -> None:
    """Refuse a layer, or a policy, of another type of numbers than networks for faces have."""
    own, kind = entry.get("config"), entry["class_name"]
    if not isinstance(own, dict) or kind == "__keras_tensor__":
        return
    value = own.get("name") if kind in ("DTypePolicy", "Policy") else own.get("dtype")
    if value is None or isinstance(value, dict):  # a policy has its own entry
        fine = value is None or "class_name" in value
    else:
        fine = isinstance(value, str) and value in FLOATS | (INTEGERS if kind == "InputLayer" else set())
    require(fine, f"{_called(entry)} computes with {str(value)[:60]!r}, not with floating-point numbers")


def _called(entry: dict[str, Any]) -> str:
    """Return how a message calls a layer."""
    own = entry.get("config")
    name = entry.get("name") or (own.get("name") if isinstance(own, dict) else None)
    return f"layer {str(name)[:60]!r} ({str(entry['class_name'])[:60]})"


def _calls(model: dict[str, Any]) -> tuple[int, int]:
    """Count the calls of layers in a network: when it is called, and until it is put together.

    A network in it is put together first, by itself, and makes all of its calls again at each of its own.

    Raises
    ------
    Refused
        If they are too many, or there is no list of layers.
    """
    own = model.get("config")
    layers = own.get("layers") if isinstance(own, dict) else None
    fine = isinstance(layers, list) and all(isinstance(layer, dict) for layer in layers)
    require(fine, f"{_called(model)} without layers")
    calls, before = 0, 0
    for layer in layers:
        nodes = layer.get("inbound_nodes")
        times = max(1, len(nodes)) if isinstance(nodes, list) else 1
        inner = _calls(layer) if layer.get("class_name") in MODELS else (1, 0)
        calls, before = calls + times * inner[0], before + inner[1]
        require(calls + before <= MOST_CALLS, f"more than {MOST_CALLS:,} calls of layers")
    return calls, calls + before


def _is_ours(entry: dict[str, Any]) -> bool:
    """Return whether an object is called as a layer of fer_lib."""
    name = entry["class_name"]
    full = str(entry.get("registered_name") or name)  # HDF5 has the full name alone
    short = full.removeprefix(OURS)
    named = full != short and short in OUR_LAYERS and name in (full, short)
    return named and entry.get("module") in OUR_MODULES


def _is_of_keras(entry: dict[str, Any]) -> bool:
    """Return whether an object is one of Keras of which networks for faces are made."""
    name, module = entry["class_name"], entry.get("module")
    known = isinstance(name, str) and name in ALLOWED and entry.get("registered_name") in (None, name)
    if not known or module is None:
        return known
    # Of a layer or network it is not imported: see `plain`. Keras 2 is called tf_keras beside Keras 3.
    packages = ("keras.", "tf_keras.") if name in LAYERS | MODELS else ("keras.",)
    return isinstance(module, str) and f"{module}.".startswith(packages)


def _checked_sizes(name: str, own: dict[str, Any]) -> dict[str, int]:
    """Return the largest whole number of each entry of a layer's configuration that is a size."""
    sizes = {}
    for key in SIZES:
        values = _walk(own.get(key), (list,))
        if numbers := [int(n) for n in values if isinstance(n, int | float) and not isinstance(n, bool)]:
            # -1 in target_shape is "what is left". Of two as large, 2 and -2, the last counts.
            sizes[key] = max(numbers) if key == "target_shape" else max(reversed(numbers), key=abs)
    for key, size in sizes.items():
        require(0 <= size <= MOST_VALUES, f"{name} with {key} {size:,}")
    return sizes


def _checked_shape(name: str, own: dict[str, Any]) -> list[int]:
    """Return the shape of a layer's input without the batch, 1 for an open size; [1] if none is given."""
    shape = own.get("batch_shape") or own.get("batch_input_shape") or []
    fine = isinstance(shape, list) and all(n is None or type(n) is int for n in shape)
    require(fine, f"{name} of shape {str(shape)[:60]}")
    return [n or 1 for n in shape[1:]] or [1]


class _Estimate:
    """How large a network is at least, layer by layer in the order of its configuration."""

    def __init__(self) -> None:
        self.side, self.channels, self.flat, self.weights = 1, 1, False, 0

    def add(self, name: str, sizes: dict[str, int], shape: list[int]) -> None:
        """Take in a layer with its sizes and the shape of its input."""
        self.channels = max(self.channels, shape[-1])
        grown = (sizes.get(key, 1) for key in ("height", "width", "target_shape", "padding"))
        self.side = max(self.side, *shape, *grown)
        width = max(sizes.get(key, 1) for key in ("filters", "units", "depth_multiplier"))
        self.flat = self.flat or name in ("Flatten", "Reshape")
        area = self.side**2 if self.flat else 1
        self.weights += sizes.get("kernel_size", 1) ** 2 * width * self.channels * area
        if not self.flat:
            self.side = max(1, self.side // max(1, sizes.get("strides", 1), sizes.get("pool_size", 1)))
        self.channels = max(self.channels, width)
        largest = max(self.weights, self.side**2 * self.channels)
        require(largest <= 2 * MOST_VALUES, f"{name} makes it absurdly large")


def entries(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every object that a configuration names, in order."""
    dicts = (value for value in _walk(config) if isinstance(value, dict))
    return (value for value in dicts if "class_name" in value)


def _walk(root: Any, within: tuple[type, ...] = (dict, list)) -> Iterator[Any]:
    """Yield a value of JSON and, in order, what is in it and in those of its values that are `within`."""
    waiting, count = [(root, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if depth > DEEPEST or count > 200_000:
            raise ValueError("its configuration is nested too deeply or too long")
        yield value
        if isinstance(value, within):
            inside = value.values() if isinstance(value, dict) else value
            waiting += [(inner, depth + 1) for inner in reversed(inside)]


def plain(config: dict[str, Any], zeros: bool = False) -> dict[str, Any]:
    """Return the configuration as Keras 3 is given it, in its words, and without what means nothing.

    That is what the model was compiled with; the shape that a layer was built for, which follows from the
    input; a fixed number of images a batch; the setting of random layers that Keras 3 does not know; and
    the decomposition of a matrix as large as a layer, where all weights come from the file.

    Parameters
    ----------
    config : dict
        Of a model that `check` found harmless.
    zeros : bool
        Let every weight begin as zero.
    """
    made = _plain_value(config, zeros)
    _without_lists_of_one(made["config"])
    return made


def _plain_value(value: Any, zeros: bool) -> Any:
    if isinstance(value, list):
        return [_plain_value(inner, zeros) for inner in value]
    if not isinstance(value, dict):
        return value
    value = {key: _plain_value(inner, zeros) for key, inner in value.items()}
    return _plain_entry(value, zeros) if "class_name" in value else value


def _plain_entry(entry: dict[str, Any], zeros: bool) -> dict[str, Any]:
    built = entry.pop("build_config", None)
    for key in ("compile_config", "shared_object_id"):
        entry.pop(key, None)
    own = entry.get("config")
    if not isinstance(own, dict):
        return entry
    if _is_ours(entry):
        entry.setdefault("registered_name", entry["class_name"])
        entry.setdefault("module", OUR_MODULES[1])
    elif entry["class_name"] in LAYERS | MODELS:
        # By which the one who loads finds it; other versions of Keras keep it elsewhere, or do not say.
        entry |= {"registered_name": entry["class_name"], "module": "keras.layers"}
    if entry["class_name"] == "Sequential" and isinstance(built, dict):
        own.setdefault("build_input_shape", built.get("input_shape"))
    if entry["class_name"] in MODELS and isinstance(own.get("layers"), list):
        _modernise(own)
    for key in ("rng_type", *UNKNOWN.get(entry["class_name"], ())):
        own.pop(key, None)
    if isinstance(own.get("dtype"), dict) and own["dtype"].get("class_name") == "Policy":
        own["dtype"] = own["dtype"]["config"]["name"]
    if entry["class_name"] == "InputLayer" and "batch_input_shape" in own:
        own["batch_shape"] = own.pop("batch_input_shape")
    for key in ("batch_shape", "batch_input_shape", "build_input_shape"):
        if isinstance(own.get(key), list) and own[key]:
            own[key] = [None, *own[key][1:]]
    if isinstance(own.get("axis"), list) and len(own["axis"]) == 1:
        own["axis"] = own["axis"][0]
    for key in own:
        if key.endswith("_initializer"):
            own[key] = "zeros" if zeros else _without_decomposition(own[key])
    return entry


def _modernise(own: dict[str, Any]) -> None:
    """Say as Keras 3 does what Keras 2 said of a network: shape of its input, names, and which call is meant.

    Of a network within that begins with its input, Keras 2 counts the calls from 1.
    """
    layers = [layer for layer in own["layers"] if isinstance(layer.get("config"), dict)]
    shapes = [layer["config"].pop("batch_input_shape", None) for layer in layers]
    if shapes and shapes[0]:  # without an InputLayer, the first layer has it
        own.setdefault("build_input_shape", shapes[0])
    from_one = {_name(layer): layer["class_name"] for layer in layers if _begins_with_input(layer)}
    for named in (each for layer in layers for each in (layer, layer["config"]) if "name" in each):
        named["name"] = renamed(named["name"])
    nodes = [node for layer in layers for node in layer.get("inbound_nodes") or () if isinstance(node, list)]
    if not nodes:
        return
    _without_lists_of_one(own)
    calls, ends = _calls_named(nodes), _calls_named([own.get("input_layers"), own.get("output_layers")])
    # Of a Functional that is an output, Keras 3 counts from 1 as well.
    for call in calls + [end for end in ends if from_one.get(end[0]) == "Sequential"]:
        if call[0] in from_one:
            fine = type(call[1]) is int and call[1] > 0
            require(fine, f"there is no call {str(call[1])[:60]} of network {call[0][:60]!r}")
            call[1] -= 1
    for call in calls + ends:
        call[0] = renamed(call[0])


def renamed(name: Any) -> Any:
    """Return the name of a layer as Keras 3 allows it; those of Keras 2 may have a slash."""
    return name.replace("/", "_") if isinstance(name, str) else name


def _calls_named(value: Any) -> list[list[Any]]:
    """Return what names the result of a call, as Keras 2 does: lists of layer, call, result."""
    lists = (inner for inner in _walk(value, (list,)) if isinstance(inner, list))
    return [each for each in lists if len(each) > 2 and isinstance(each[0], str)]


def _without_lists_of_one(own: dict[str, Any]) -> None:
    """Let a network of one input, or one output, take and give that, and no list of it."""
    for key in ("input_layers", "output_layers"):
        ends = own.get(key)
        if isinstance(ends, list) and len(ends) == 1 and isinstance(ends[0], list):
            own[key] = ends[0]


def _name(layer: dict[str, Any]) -> str:
    return str(layer.get("name") or layer["config"].get("name"))


def _begins_with_input(layer: dict[str, Any]) -> bool:
    within = layer["config"].get("layers") if layer.get("class_name") in MODELS else None
    return isinstance(within, list) and bool(within) and within[0].get("class_name") == "InputLayer"


def _without_decomposition(initializer: Any) -> Any:
    name = initializer.get("class_name") if isinstance(initializer, dict) else initializer
    return "glorot_uniform" if str(name).lower().startswith("orthogonal") else initializer
