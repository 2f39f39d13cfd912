"""What one image costs a network: memory for its maps, and arithmetic.

Both are read from the graph that TensorFlow would execute, which is traced without executing it: every call
of a shared layer or of a network within is in it, and what our own layers do, too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fer_tools.model_files.configuration import MOST_VALUES, Refused, require

MOST_BYTES = 2**29  # of all maps of one image; VGG16 has a third of that at 224x224 pixels
MOST_WORK = 10_000_000_000  # see `Cost.work`; ResNet50 has 3,900,000,000 multiply-adds at 224x224 pixels
MOST_OPERATIONS = 6_000  # DenseNet121 has 3,521
# How many multiply-adds of a slow kernel take as long as some of a large matrix: so many that, whatever a
# network does, a thousand million take less than 0.2 s. Measured with TensorFlow 2.21 on two cores, with
# and without oneDNN.
FEW_CHANNELS, DEPTHWISE, POOLING, VECTOR, OTHER, RESIZING = 20, 30, 50, 5, 10, 300
GROUPS, GROUPS_DOUBLE, COMPILATION = 50, 600, 100_000_000
HALF, HALF_MATRIX, DOUBLE = 10, 300, 4
SLOW = {"TopKV2", "ScaleAndTranslate", "ResizeBicubic", "ImageProjectiveTransformV3"}
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
    inputs = _inputs(model)
    weights = sum(math.prod(variable.shape) for variable in model.weights)
    require(weights <= MOST_VALUES, f"{weights:,} weights; at most {MOST_VALUES:,} are opened")
    require(weights <= held, f"{weights:,} weights, of which the file holds {held:,}")
    kernels = [variable.shape for variable in model.weights if len(variable.shape) == 4]
    costs = of_graph(_traced(model, inputs), kernels)
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


def _inputs(model: Any) -> list[Any]:
    try:
        return list(model.inputs)
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


def of_graph(graph: Any, kernels: Sequence[tuple[int, ...]] = ()) -> Cost:
    """Return what a traced graph costs, of a network with these kernels of convolutions."""
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
        work += _work(operation, sum(map(math.prod, shapes)), kernels)
    return Cost(memory, work)


def _shape(tensor: Any) -> tuple[int, ...]:
    known = tensor.shape.rank is not None and tensor.shape.is_fully_defined()
    require(known, f"maps whose size cannot be told before they are computed ({tensor.op.type})")
    return tuple(tensor.shape.as_list())


def _work(operation: Any, values: int, kernels: Sequence[tuple[int, ...]]) -> int:
    """Return the multiply-adds of an operation that has so many values as its output."""
    kind = operation.type
    bytes_each = max((tensor.dtype.size for tensor in operation.outputs), default=4)
    slow = {2: HALF, 8: DOUBLE}.get(bytes_each, 1)
    if kind == "Conv2D":
        slow = DOUBLE if bytes_each == 8 else 1
        *kernel, channels = _shape(operation.inputs[1])
        slow *= FEW_CHANNELS if min(channels, kernel[-1]) < 4 else 1
        return values * math.prod(kernel) * slow
    if kind == "DepthwiseConv2dNative":
        kernel = _shape(operation.inputs[1])[:2]
        endless = operation.outputs[0].dtype.name == "bfloat16" and math.prod(kernel) > 121
        require(not endless, f"a depthwise kernel of {_sides(kernel)} in bfloat16, which does not end")
        return values * math.prod(kernel) * DEPTHWISE * slow
    if kind in ("MatMul", "BatchMatMulV2", "BatchMatMul"):
        *_, rows, columns = _shape(operation.inputs[0])
        turned = operation.get_attr("transpose_a" if kind == "MatMul" else "adj_x")
        slow = HALF_MATRIX if bytes_each == 2 else slow
        return values * (rows if turned else columns) * slow * (VECTOR if min(rows, columns) < 4 else 1)
    if kind in ("MaxPool", "AvgPool"):
        return values * math.prod(operation.get_attr("ksize")) * POOLING * slow
    if "PartitionedCall" in kind:  # a convolution in groups, which is compiled at its first call
        each = _in_groups(operation, kernels)
        return values * each * (GROUPS_DOUBLE if bytes_each == 8 else GROUPS) + COMPILATION
    require(not kind.endswith(("While", "If", "Case")), f"an operation that cannot be looked into ({kind})")
    taken = sum(math.prod(_shape(tensor)) for tensor in operation.inputs if tensor.dtype.size)
    return (values + taken) * (RESIZING if kind in SLOW else OTHER) * slow


def _in_groups(operation: Any, kernels: Sequence[tuple[int, ...]]) -> int:
    """Return the multiply-adds for a value of a convolution in groups, whose kernel is out of sight.

    It is one of those of the network: the largest that fits.
    """
    images = [shape for shape in map(_shape, operation.inputs) if len(shape) == 4]
    require(bool(images), "an operation that cannot be looked into")
    channels, made = images[0][-1], _shape(operation.outputs[0])[-1]
    fits = [k for k in kernels if k[-1] == made and k[-2] < channels and channels % k[-2] == 0]
    require(bool(fits), "an operation that cannot be looked into")
    return max(math.prod(kernel[:-1]) for kernel in fits)


def _sides(shape: Sequence[int | None]) -> str:
    return " x ".join("any" if n is None else f"{n:,}" for n in shape)
