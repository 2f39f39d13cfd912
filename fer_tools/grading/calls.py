"""What functions of libraries make of an image, or of a network's outputs."""

import ast
import builtins
import operator
from collections.abc import Sequence
from typing import Any

from fer_tools.grading.values import Name, NumpyInteger, Pixels, Probability, Step, Unknown, whole

NOT_KNOWN = object()
# What leaves the values of an image as they are, in arrays or tensors of whatever kind.
SAME = set(
    "array asarray asanyarray ascontiguousarray float32 float64 copy convert_to_tensor constant cast "
    "img_to_array".split()
)
SAME_METHODS = {"astype", "copy", "numpy"}
# What is done for whoever looks on.
QUIET = set("print imshow show title waitKey figure axis imwrite imsave close compile summary".split())
BUILTINS = set(
    "int float str bool abs round len range enumerate list tuple dict zip sorted sum min max reversed".split()
)


def shape_of(image: Pixels) -> tuple[Any, ...]:
    """Return the sizes of an image as its code sees them."""
    return tuple(Unknown(0, "its size") if side is None else side for side in image.shape)


def batched(value: Any) -> Pixels | None:
    """Return what a network is given: an image, or the one image in a list."""
    if isinstance(value, list | tuple) and len(value) == 1 and isinstance(value[0], Pixels):
        return value[0].shaped(None if value[0].shape is None else (1, *value[0].shape))
    return value if isinstance(value, Pixels) else None


def indexed(image: Pixels, key: Any, node: ast.AST) -> Any:
    """Return a part of an image, or one with new axes; None if that is not understood."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if image.shape is None:
        return None
    used = sum(each is not None and each is not ... for each in keys)
    if ... in keys:
        at = keys.index(...)
        keys[at : at + 1] = [slice(None)] * (len(image.shape) - used)
    else:
        keys += [slice(None)] * (len(image.shape) - used)
    sides, shape, cropped = list(image.shape), [], False
    for each in keys:
        if each is None:
            shape.append(1)
            continue
        side = sides.pop(0)
        if isinstance(each, slice):
            shape.append(side if each == slice(None) else None if side is None else len(range(side)[each]))
            cropped = cropped or (each != slice(None) and side not in (1, 3))  # those are channels
        elif not isinstance(each, int) or isinstance(each, bool):
            return None
    return image.shaped(shape, *([Step("crop", node)] if cropped else []))


def library(called: Name, given: list[Any], named: dict[str, Any], node: ast.Call) -> Any:
    """Return what a function of a library makes; `NOT_KNOWN` if that is not understood."""
    last, first = called.last, given[0] if given else named.get("input", NOT_KNOWN)
    if last in QUIET:
        return None
    if called.root == "builtins" and last in BUILTINS:
        return _builtin(last, given)
    if last == "join" and called.root == "os" and all(isinstance(each, str) for each in given):
        return "/".join(given)
    if last in ("Path", "PurePath") and len(given) == 1 and isinstance(first, str):
        return first
    if last == "fromarray" and isinstance(first, Pixels):
        return first.shaped(first.shape, pillow=True)
    image = _stacked(first)
    if isinstance(image, Pixels):
        return _of_image(last, called, image, given, named, node)
    if isinstance(first, Pixels):
        return _of_image(last, called, first, given, named, node)
    return _of_outputs(last, first, given, named)


def _builtin(name: str, given: list[Any]) -> Any:
    if not given or not all(
        isinstance(each, int | float | str | list | tuple | dict | range) for each in given
    ):
        return NOT_KNOWN
    if name == "int" and isinstance(given[0], list):
        return int(_only(given[0]))
    if name == "range" and abs(max(given)) > 1_000:
        return NOT_KNOWN
    found = getattr(builtins, name)(*given)
    if isinstance(given[0], Probability) and name in ("float", "round"):
        return Probability(found)
    return list(found) if name in ("enumerate", "zip", "range", "reversed") else found


def _only(values: Any) -> Any:
    while isinstance(values, list):
        (values,) = values
    return values


def _stacked(value: Any) -> Pixels | None:
    """Return the image of which a list holds nothing but copies."""
    same = isinstance(value, list | tuple) and value and isinstance(value[0], Pixels)
    return value[0] if same and all(each == value[0] for each in value) else None


def _axis(given: list[Any], named: dict[str, Any], place: int = 1) -> Any:
    return named.get("axis", given[place] if len(given) > place else None)


def _inserted(shape: Sequence[Any], axes: Any, value: int) -> tuple | None:
    axes = [axes] if isinstance(axes, int) else list(axes)
    length = len(shape) + len(axes)
    places = {operator.index(axis) % length for axis in axes}
    if len(places) < len(axes):
        raise ValueError("one axis twice")
    rest = iter(shape)
    return tuple(value if i in places else next(rest) for i in range(length))


def _of_image(
    last: str, called: Name, image: Pixels, given: list, named: dict[str, Any], node: ast.Call
) -> Any:
    """Return what a function makes of an image, or of copies of it in a list."""
    copies = len(given[0]) if isinstance(given[0], list | tuple) else 0
    if copies:
        return _of_copies(last, image, copies, given, named, node)
    shape = image.shape
    if last in SAME:
        return image.shaped(shape, pillow=False)
    if last == "resize":
        return _resized(called, image, given, named, node)
    if last == "cvtColor":
        return _converted(image, given[1], node)
    if last == "convert_image_dtype":
        return image.scaled(1 / 255, 0, node)
    if last in ("divide", "multiply", "true_divide") and isinstance(given[1], int | float):
        return image.scaled(given[1] if last == "multiply" else 1 / given[1], 0, node)
    if last == "reshape":
        return reshaped(image, given[1] if len(given) > 1 else named.get("newshape", named.get("shape")))
    if shape is None:
        return NOT_KNOWN
    if last == "expand_dims":
        return image.shaped(_inserted(shape, _axis(given, named), 1))
    if last == "squeeze":
        return image.shaped([side for side in shape if side != 1])
    if last == "grayscale_to_rgb" and shape[-1] == 1:
        return image.shaped((*shape[:-1], 3), Step("colour", node))
    if last == "repeat" and _axis(given, named, 2) in (-1, len(shape) - 1) and shape[-1] == 1:
        return image.shaped((*shape[:-1], whole(given[1])), Step("colour", node))
    if (
        last == "tile"
        and isinstance(given[1], list | tuple)
        and tuple(given[1][:-1]) == (1,) * (len(given[1]) - 1)
    ):
        if len(given[1]) == len(shape) and shape[-1] == 1:
            return image.shaped((*shape[:-1], whole(given[1][-1])), Step("colour", node))
    return NOT_KNOWN


def _of_copies(
    last: str, image: Pixels, copies: int, given: list, named: dict[str, Any], node: ast.Call
) -> Any:
    shape, step = image.shape, Step("colour", node)
    if shape is None:
        return NOT_KNOWN
    if last in SAME:
        return image.shaped((copies, *shape))
    if last == "stack":
        axis = _axis(given, named) or 0
        return image.shaped(_inserted(shape, axis, copies), *([step] if copies == 3 else []))
    if last in ("dstack", "merge") and len(shape) == 2:
        return image.shaped((*shape, copies), step)
    if last in ("concatenate", "concat") and _axis(given, named) in (-1, len(shape) - 1) and shape[-1] == 1:
        return image.shaped((*shape[:-1], copies), step)
    return NOT_KNOWN


def reshaped(image: Pixels, shape: Any) -> Any:
    """Return an image in another shape of the same values."""
    sides = [shape] if isinstance(shape, int) else shape
    if not isinstance(sides, list | tuple):
        return image.shaped(None)
    return image.shaped([whole(side) for side in sides])


def _resized(called: Name, image: Pixels, given: list, named: dict[str, Any], node: ast.Call) -> Any:
    """Return an image after one of the functions that are called resize, which are not the same at all."""
    names = (name for name in ("dsize", "size", "new_shape", "output_shape") if name in named)
    size = given[1] if len(given) > 1 else named.get(next(names, ""))
    sides = [whole(side) for side in size] if isinstance(size, list | tuple) else None
    if called.root == "numpy":
        shape = None if sides is None else tuple(sides)
        return image.shaped(shape, Step("resize", node, shape), resize="np.resize", method="")
    sides, before = sides or [None, None], image.shape or (None, None)
    if called.root == "cv2":
        method = named.get("interpolation", given[5] if len(given) > 5 else Name("cv2.INTER_LINEAR"))
        method = method.last if isinstance(method, Name) else "?"
        method = "bilinear" if method == "INTER_LINEAR" else method
        shape = (*sides[::-1], *([] if before[2:] == (1,) else before[2:]))
        return image.shaped(shape, Step("resize", node, shape), resize="cv2.resize", method=method)
    if called.root in ("tensorflow", "keras") and "image" in called.full and len(before) > 2:
        method = named.get("method", given[2] if len(given) > 2 else "bilinear")
        method = method if isinstance(method, str) else "?"
        shape = (*before[:-3], *sides[:2], before[-1])
        return image.shaped(shape, Step("resize", node, shape), resize="tf.image.resize", method=method)
    return NOT_KNOWN


def _converted(image: Pixels, code: Any, node: ast.Call) -> Any:
    """Return an image after cv2.cvtColor."""
    if not isinstance(code, Name) or image.shape is None:
        return NOT_KNOWN
    channels = image.shape[2] if len(image.shape) == 3 else 1
    before, _, after = code.last.removeprefix("COLOR_").partition("2")
    if (before == "GRAY") != (channels == 1):
        return Unknown(node.lineno, f"{code(node)}, of an image of {channels} channel{'s' * (channels != 1)}")
    if after == "GRAY":
        return image.shaped(image.shape[:2], Step("colour", node))
    if after in ("RGB", "BGR"):
        return image.shaped((*image.shape[:2], 3), Step("colour", node))
    return NOT_KNOWN


def _of_outputs(last: str, first: Any, given: list[Any], named: dict[str, Any]) -> Any:
    """Return what a function makes of the outputs of a network, or of other numbers."""
    if not isinstance(first, list | tuple) or not first:
        return NumpyInteger(first) if last in ("int32", "int64") and isinstance(first, int) else NOT_KNOWN
    values = list(first)
    if last in ("argmax", "max", "amax", "reduce_max"):
        return _largest(values, _axis(given, named), last == "argmax")
    if last in SAME or last in ("softmax", "tuple", "round"):
        return values
    if last in ("squeeze", "ravel"):
        return _flat(values)
    return NOT_KNOWN


def _flat(values: Any) -> list:
    return [leaf for value in values for leaf in (_flat(value) if isinstance(value, list) else [value])]


def _largest(values: list, axis: Any, place: bool) -> Any:
    """Return the largest number of a list, or its place; of each row where the last axis is asked for."""
    nested = isinstance(values[0], list)
    if nested and axis in (1, -1):
        return [_largest(row, None, place) for row in values]
    if axis not in (None, 0, -1) or (nested and axis == 0):
        return NOT_KNOWN
    flat = _flat(values)
    best = max(range(len(flat)), key=flat.__getitem__)
    return NumpyInteger(best) if place else flat[best]


def method(owner: Any, name: str, given: list[Any], named: dict[str, Any], node: ast.Call) -> Any:
    """Return what a method makes; `NOT_KNOWN` if that is not understood."""
    if isinstance(owner, Pixels):
        return _method_of_image(owner, name, given, named, node)
    if name in QUIET:
        return None
    if isinstance(owner, dict):
        if name == "get":
            return owner.get(given[0], given[1] if len(given) > 1 else None)
        return list(getattr(owner, name)()) if name in ("items", "keys", "values") else NOT_KNOWN
    if isinstance(owner, list | tuple):
        return _method_of_list(owner, name, given, named)
    if isinstance(owner, int | float) and name in ("item", "numpy"):
        return int(owner) if isinstance(owner, int) and name == "item" else owner
    if isinstance(owner, str) and name in ("lower", "upper", "strip", "title", "capitalize"):
        return getattr(owner, name)()
    return NOT_KNOWN


def _method_of_list(owner: Any, name: str, given: list[Any], named: dict[str, Any]) -> Any:
    if name in ("index", "count"):
        return getattr(owner, name)(given[0])
    if name == "append":
        return owner.append(given[0])
    if name in ("argmax", "max"):
        return _largest(list(owner), named.get("axis", given[0] if given else None), name == "argmax")
    if name in ("numpy", "tolist", "copy", "astype"):
        return list(owner)
    if name in ("flatten", "ravel", "squeeze"):
        return _flat(owner)
    return _only(owner) if name == "item" else NOT_KNOWN


def _method_of_image(image: Pixels, name: str, given: list, named: dict[str, Any], node: ast.Call) -> Any:
    if name == "convert" and image.pillow and image.shape is not None:
        channels = (3,) if given == ["RGB"] else () if given == ["L"] else None
        return (
            NOT_KNOWN
            if channels is None
            else image.shaped((*image.shape[:2], *channels), Step("colour", node))
        )
    if name in SAME_METHODS:
        return image
    if name == "resize" and image.pillow and isinstance(given[0], list | tuple):
        sides = [whole(side) for side in given[0]][::-1]
        shape = (*sides, *(image.shape or ())[2:])
        return image.shaped(shape, Step("resize", node, shape), resize="PIL", method="bicubic")
    if name == "reshape":
        return reshaped(image, given[0] if len(given) == 1 else given)
    if name in ("squeeze", "repeat"):
        return _of_image(name, Name(f"numpy.{name}"), image, [image, *given], named, node)
    return NOT_KNOWN
