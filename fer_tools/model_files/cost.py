"""What one image costs a network: memory for its maps, and arithmetic.

Both are read from the graph that TensorFlow would execute, which is traced without executing it: every call
of a shared layer or of a network within is in it, and what our own layers do, too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fer_tools.model_files.configuration import MOST_VALUES, Refused, require

MOST_BYTES = 2**28  # of all maps of one image
MOST_WORK = 4_000_000_000  # see `Cost.work`; ResNet50 has 3,900,000,000 at 224x224 pixels
MOST_OPERATIONS = 20_000
MOST_OUTPUTS = 1_000
# How much slower than the multiply-adds of a large matrix, measured with TensorFlow 2.21 on two cores.
CONVOLUTION, DEPTHWISE, POOLING, HALF, OTHER, SORTING = 1, 10, 10, 10, 10, 200
ONE_CHANNEL = 10
FREE = {"Const", "Fill", "Placeholder", "ReadVariableOp", "Identity", "NoOp", "Shape", "Reshape", "Squeeze"}


@dataclass(frozen=True)
class Cost:
    """What one image costs a network.

    Attributes
    ----------
    memory : int
        Bytes of all maps, as if none were forgotten before the last.
    work : int
        Multiply-adds; those of slow kernels count manifold.
    """

    memory: int
    work: int


def check_shape(shape: Any) -> None:
    """Refuse the shape of maps that no layer should be built for.

    Raises
    ------
    Refused
        If they have more values than fit, for one image.
    """
    if isinstance(shape, list | tuple) and all(n is None or isinstance(n, int) for n in shape):
        values = math.prod(n or 1 for n in shape[1:])
        require(values <= MOST_VALUES, f"maps of {_sides(shape[1:])}: {values:,} values an image")


def checked(model: Any, held: int) -> Cost:
    """Return what an image costs a network, and refuse one that costs too much.

    Parameters
    ----------
    model : keras.Model
        Its variables need no values.
    held : int
        How many numbers the file holds.

    Raises
    ------
    Refused
        If the network has no fixed input, is larger than its file, or is beyond the limits of this module.
    """
    inputs, outputs = _tensors(model, "inputs"), _tensors(model, "outputs")
    for tensor in outputs:
        # Not all of its dimensions are known at first: the input may have any size.
        few = math.prod(n or 1 for n in tensor.shape[1:]) <= MOST_VALUES
        require(few, f"output of {_sides(tensor.shape[1:])}")
    weights = sum(math.prod(variable.shape) for variable in model.weights)
    require(weights <= MOST_VALUES, f"{weights:,} weights; at most {MOST_VALUES:,} are opened")
    require(weights <= held, f"{weights:,} weights, of which the file holds {held:,}")
    costs = _of_graph(_traced(model, inputs))
    require(
        costs.memory <= MOST_BYTES,
        f"{costs.memory / 2**20:,.0f} MB of maps an image; at most {MOST_BYTES // 2**20} are computed",
    )
    require(
        costs.work <= MOST_WORK,
        f"{costs.work / 1e6:,.0f} million steps of arithmetic an image; "
        f"at most {MOST_WORK // 10**6:,} million are made",
    )
    return costs


def _tensors(model: Any, which: str) -> list[Any]:
    try:
        return list(getattr(model, which))
    except (AttributeError, TypeError) as error:
        raise Refused("it does not say the shape of its input; save it after it was built") from error


def _traced(model: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    specs = []
    for tensor in inputs:
        fixed = None not in tensor.shape[1:]
        require(fixed, f"takes images of {_sides(tensor.shape[1:])}, which is no fixed size")
        specs.append(tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype))

    def answer(*images: Any) -> Any:
        return model(list(images) if len(images) > 1 else images[0], training=False)

    return tf.function(answer, input_signature=specs, autograph=False).get_concrete_function().graph


def _of_graph(graph: Any) -> Cost:
    memory, work = 0, 0
    operations = graph.get_operations()
    require(len(operations) <= MOST_OPERATIONS, f"more than {MOST_OPERATIONS:,} operations")
    for operation in operations:
        if operation.type in FREE:
            continue
        shapes = [_shape(tensor) for tensor in operation.outputs]
        memory += sum(
            math.prod(shape) * max(tensor.dtype.size, 1)
            for shape, tensor in zip(shapes, operation.outputs, strict=True)
        )
        work += _work(operation, sum(map(math.prod, shapes)))
    return Cost(memory, work)


def _shape(tensor: Any) -> tuple[int, ...]:
    known = tensor.shape.rank is not None and tensor.shape.is_fully_defined()
    require(known, f"maps whose size cannot be told before they are computed ({tensor.op.type})")
    return tuple(tensor.shape.as_list())


def _work(operation: Any, values: int) -> int:
    """Return the multiply-adds of an operation that has so many values as its output."""
    kind = operation.type
    half = HALF if any(tensor.dtype.size == 2 for tensor in operation.outputs) else 1
    if kind == "Conv2D":
        *kernel, channels = _shape(operation.inputs[1])
        slow = ONE_CHANNEL if channels < 4 or kernel[-1] < 4 else CONVOLUTION
        return values * math.prod(kernel) * slow * half
    if kind == "DepthwiseConv2dNative":
        return values * math.prod(_shape(operation.inputs[1])[:2]) * DEPTHWISE * half
    if kind in ("MatMul", "BatchMatMulV2", "BatchMatMul"):
        return values * max(_shape(operation.inputs[0])[-2:]) * half
    if kind in ("MaxPool", "AvgPool"):
        return values * math.prod(operation.get_attr("ksize")) * POOLING * half
    taken = sum(math.prod(_shape(tensor)) for tensor in operation.inputs if tensor.dtype.size)
    slow = SORTING if kind in ("TopKV2", "ScaleAndTranslate", "ImageProjectiveTransformV3") else OTHER
    return (values + taken) * slow * half


def _sides(shape: Sequence[int | None]) -> str:
    return " x ".join("any" if n is None else f"{n:,}" for n in shape)
