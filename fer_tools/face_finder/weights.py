"""Take the weights of the face finder out of the file that browsers run, so that NumPy can run it, too.

python -m fer_tools.face_finder.weights

They were published with 16 bits, and keep these; only their order is another.
"""

from pathlib import Path

import numpy as np

from fer_lib.files import UsageError, atomic_path
from fer_tools import paths

PATH = Path(__file__).with_name("blazeface.npz")
SOURCE = "networks/finder.onnx"  # in game/
HEADS = ("classificator_8", "classificator_16", "regressor_8", "regressor_16")


def taken(source: Path) -> dict[str, np.ndarray]:
    """Return the weights in a file of ONNX by name: `<layer>.kernel` (height, width, in, out) and `.bias`.

    Raises
    ------
    UsageError
        If a weight has more than 16 bits, or it is another network.
    """
    import onnx

    graph = onnx.load(source).graph
    values = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    found: dict[str, np.ndarray] = {}
    for node in graph.node:
        if node.op_type == "Conv":
            kernel, bias = (values[name] for name in node.input[1:])
            found[f"{node.output[0]}.kernel"] = kernel.transpose(2, 3, 1, 0)
            found[f"{node.output[0]}.bias"] = bias
    if any(f"{name}.kernel" not in found for name in ("conv2d", *HEADS)):
        raise UsageError(f"{source}: not the face finder; `python -m fer_tools.play.vendor` makes it")
    small = {name: value.astype(np.float16) for name, value in found.items()}
    for name, value in found.items():
        if not np.array_equal(small[name], value):
            raise UsageError(f"{source}: {name} has more than 16 bits, which would be lost")
    return small


def write(path: Path, weights: dict[str, np.ndarray]) -> None:
    """Write weights."""
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **weights)


def read(path: Path = PATH) -> dict[str, np.ndarray]:
    """Return the committed weights with 32 bits."""
    with np.load(path, allow_pickle=False) as held:
        return {name: held[name].astype(np.float32) for name in held.files}


if __name__ == "__main__":
    write(PATH, taken(paths.checkout("the game") / "game" / SOURCE))
