"""A walk through a game's syntax tree: what its code would do, told from the tree; none of it is executed.

Of values only those are followed that lead from an image to an answer: the image and what is done to it, the
network and its outputs, constants, lists and dictionaries. Anything else is unknown, and so is what is made
of it. Steps, depth and ways are bounded.
"""

import ast
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fer_tools.grading import calls
from fer_tools.grading.values import (
    LONGEST,
    Function,
    Name,
    Network,
    NumpyInteger,
    Own,
    Pixels,
    Probability,
    Unknown,
    bounded,
    code,
)

MOST_STEPS = 5_000  # of one way through the code
MOST_WAYS = 32  # where it is not known which one is taken
DEEPEST = 25  # calls within calls
# Names by which modules are called even where a game forgets to import them.
USUAL = {
    "np": "numpy",
    "tf": "tensorflow",
    "cv2": "cv2",
    "os": "os",
    "keras": "keras",
    "plt": "matplotlib.pyplot",
}
ARITHMETIC: dict[type, Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
COMPARISONS: dict[type, Callable] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


class Stuck(Exception):
    """The walk goes on for too long, or the code does what is not followed."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.line = reason, line


class _Return(Exception):
    def __init__(self, value: Any, node: ast.AST) -> None:
        super().__init__()
        self.value, self.node = value, node


class _Loop(Exception):
    """A break, or a continue."""

    def __init__(self, ends: bool) -> None:
        super().__init__()
        self.ends = ends


class Raised(Exception):
    """The code raises an error itself."""


@dataclass
class Way:
    """What happens on one way through the code.

    Attributes
    ----------
    answer : what is returned.
    returned : the statement that does.
    fed : list of (network, what it is given, the call).
    thresholds : lines in which an output is compared with a constant.
    adjusted : lines in which an output is changed by hand.
    undefined : names of modules that are used without an import, with lines.
    raised : whether it ends with an error of its own.
    """

    answer: Any = None
    returned: ast.AST | None = None
    fed: list[tuple[Any, Any, ast.Call]] = field(default_factory=list)
    thresholds: list[int] = field(default_factory=list)
    adjusted: list[int] = field(default_factory=list)
    undefined: dict[str, int] = field(default_factory=dict)
    raised: bool = False


def ways(
    tree: ast.Module, function: str, given: Any, outputs: Sequence[float], known: dict[str, Any]
) -> list[Way]:
    """Return what happens on all ways through a function of a module, where a condition is not known.

    Parameters
    ----------
    tree : ast.Module
    function : str
        Its name, in the module or in a class of it.
    given : what it is called with.
    outputs : sequence of float
        What every network answers.
    known : dict
        Constants of other modules by their full names.

    Raises
    ------
    Stuck
        If there are too many ways, or one cannot be followed.
    """
    found: list[Way] = []
    waiting: list[list[bool]] = [[]]
    while waiting:
        decided = waiting.pop()
        walk = Walk(outputs, known, decided)
        found.append(walk.take(tree, function, given))
        waiting += [[*walk.taken[:i], False] for i in range(len(decided), len(walk.taken))]
        if len(found) + len(waiting) > MOST_WAYS:
            raise Stuck(f"there are more than {MOST_WAYS} ways through it")
    return found


class Walk:
    """One way through the code.

    Attributes
    ----------
    taken : list of bool
        How each condition was decided that is not known.
    way : Way
    """

    def __init__(self, outputs: Sequence[float], known: dict[str, Any], decided: Sequence[bool]) -> None:
        self.outputs, self.known = outputs, known
        self.taken: list[bool] = []
        self.way = Way()
        self._decided, self._steps, self._depth, self._trying = list(decided), 0, 0, 0
        self._module: dict[str, Any] = {}
        self._scopes: list[dict[str, Any]] = [self._module]

    def take(self, tree: ast.Module, function: str, given: Any) -> Way:
        """Go through the module, the initialisation of the class, and the function."""
        try:
            self._loose(tree.body)
            called = self._prepared(tree, function)
            self._steps = 0
            if called is None:
                raise Stuck(f"there is no {function}")
            self.way.answer = self.call(called, [given], {})
        except (Raised, _Loop):
            self.way.raised = True
        except RecursionError as error:
            raise Stuck("it is nested too deeply") from error
        return self.way

    def _loose(self, body: Sequence[ast.stmt]) -> None:
        """Go through statements outside the function, where what is not understood does no harm."""
        for statement in body:
            try:
                self.run([statement])
            except (Stuck, Raised, _Return, _Loop):
                continue

    def _prepared(self, tree: ast.Module, function: str) -> Function | None:
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and function in _functions(node.body):
                own = Own(methods=_functions(node.body))
                self._scopes.append(own.attributes)
                self._loose(node.body)
                self._scopes.pop()
                for name in own.methods:
                    own.attributes.pop(name, None)
                if "__init__" in own.methods:
                    try:
                        self.call(Function(own.methods["__init__"], own), [], {})
                    except (Stuck, Raised):
                        pass  # what was set by then is known
                return Function(own.methods[function], own)
        return self._module.get(function) if isinstance(self._module.get(function), Function) else None

    # -- statements ----------------------------------------------------------------------------------------

    def run(self, body: Sequence[ast.stmt]) -> None:
        """Go through statements."""
        for statement in body:
            self._step(statement)
            method = getattr(self, f"_do_{type(statement).__name__.lower()}", None)
            if method is None:
                raise Stuck(f"`{type(statement).__name__}` is not followed", statement.lineno)
            method(statement)

    def _step(self, node: ast.AST) -> None:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise Stuck("it takes too many steps", getattr(node, "lineno", 0))

    def _do_pass(self, _: ast.Pass) -> None:
        pass

    _do_global = _do_nonlocal = _do_assert = _do_delete = _do_pass

    def _do_expr(self, node: ast.Expr) -> None:
        self.value(node.value)

    def _do_return(self, node: ast.Return) -> None:
        raise _Return(None if node.value is None else self.value(node.value), node)

    def _do_raise(self, _: ast.Raise) -> None:
        raise Raised

    def _do_break(self, _: ast.Break) -> None:
        raise _Loop(True)

    def _do_continue(self, _: ast.Continue) -> None:
        raise _Loop(False)

    def _do_import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.partition(".")[0]
            self._scopes[-1][alias.asname or top] = Name(alias.name if alias.asname else top)

    def _do_importfrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            full = f"{node.module or ''}.{alias.name}"
            self._scopes[-1][alias.asname or alias.name] = self.known.get(full, Name(full))

    def _do_functiondef(self, node: ast.FunctionDef) -> None:
        self._scopes[-1][node.name] = Function(node)

    _do_asyncfunctiondef = _do_functiondef

    def _do_classdef(self, node: ast.ClassDef) -> None:
        self._scopes[-1][node.name] = Unknown(node.lineno, node.name)

    def _do_assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self._set(target, value)

    def _do_annassign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._set(node.target, self.value(node.value))

    def _do_augassign(self, node: ast.AugAssign) -> None:
        left, right = self.value(node.target), self.value(node.value)
        self._set(node.target, self._binary(left, right, node))

    def _set(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self._scopes[-1][target.id] = value
        elif isinstance(target, ast.Tuple | ast.List):
            fits = isinstance(value, list | tuple) and len(value) == len(target.elts)
            for i, each in enumerate(target.elts):
                self._set(each, value[i] if fits else Unknown(target.lineno, code(target)))
        elif isinstance(target, ast.Attribute):
            owner = self.value(target.value)
            if isinstance(owner, Own):
                owner.attributes[target.attr] = value
        elif isinstance(target, ast.Subscript):
            self._set_item(self.value(target.value), self.value(target.slice), value, target)

    def _set_item(self, owner: Any, key: Any, value: Any, node: ast.AST) -> None:
        try:
            if isinstance(owner[key], Probability):
                self.way.adjusted.append(node.lineno)
        except (TypeError, LookupError):
            pass
        try:
            owner[key] = value
        except (TypeError, LookupError, ValueError) as error:
            raise Stuck(f"`{code(node)}` is set to something", node.lineno) from error

    def _do_if(self, node: ast.If) -> None:
        self.run(node.body if self._decide(self.value(node.test)) else node.orelse)

    def _decide(self, value: Any) -> bool:
        """Return whether a condition holds; both ways are gone where that is not known."""
        if isinstance(value, Pixels | Network | Name | Function | Own):
            return True
        if not isinstance(value, Unknown):
            return bool(value)
        at = len(self.taken)
        self.taken.append(self._decided[at] if at < len(self._decided) else True)
        return self.taken[-1]

    def _do_for(self, node: ast.For) -> None:
        for item in self._items(self.value(node.iter), node):
            self._set(node.target, item)
            try:
                self.run(node.body)
            except _Loop as loop:
                if loop.ends:
                    return
        self.run(node.orelse)

    def _items(self, values: Any, node: ast.AST) -> Iterator[Any]:
        if isinstance(values, list | tuple | dict | str | range):
            yield from list(values)[:LONGEST]
        elif self._decide(Unknown()):  # of what is not known there may be something, or nothing
            yield Unknown(getattr(node, "lineno", 0), code(node.iter))

    def _do_while(self, node: ast.While) -> None:
        if self._decide(self.value(node.test)):
            raise Stuck("a loop whose end is not known", node.lineno)

    def _do_try(self, node: ast.Try) -> None:
        self._trying += 1
        try:
            self.run(node.body)
        except Raised:
            if not node.handlers:
                raise
            self.run(node.handlers[0].body)
        else:
            self.run(node.orelse)
        finally:
            self._trying -= 1
        self.run(node.finalbody)

    def _do_with(self, node: ast.With) -> None:
        for item in node.items:
            value = self.value(item.context_expr)
            if item.optional_vars is not None:
                self._set(item.optional_vars, value)
        self.run(node.body)

    # -- values --------------------------------------------------------------------------------------------

    def value(self, node: ast.expr) -> Any:
        """Return what an expression is, `Unknown` if that is not understood."""
        self._step(node)
        method = getattr(self, f"_of_{type(node).__name__.lower()}", None)
        try:
            found = self._unknown(node) if method is None else method(node)
        except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError):
            return self._unknown(node)  # Python would raise an error there
        return found if bounded(found) else self._unknown(node)

    def _unknown(self, node: ast.AST, *operands: Any) -> Unknown:
        """Return that an expression is not understood, or the first operand of it that is not."""
        known = next((each for each in operands if isinstance(each, Unknown) and each.text), None)
        return known or Unknown(getattr(node, "lineno", 0), code(node, 80))

    def _of_constant(self, node: ast.Constant) -> Any:
        return node.value

    def _of_name(self, node: ast.Name) -> Any:
        for scope in (self._scopes[-1], self._module):
            if node.id in scope:
                return scope[node.id]
        if node.id in USUAL and "*" not in self._module:
            self.way.undefined.setdefault(node.id, node.lineno)
            return Name(USUAL[node.id])
        return Name(f"builtins.{node.id}")

    def _of_attribute(self, node: ast.Attribute) -> Any:
        owner = self.value(node.value)
        if isinstance(owner, Own):
            if node.attr in owner.attributes:
                return owner.attributes[node.attr]
            if node.attr in owner.methods:
                return Function(owner.methods[node.attr], owner)
        elif isinstance(owner, Name):
            full = f"{owner.full}.{node.attr}"
            return None if full == "numpy.newaxis" else self.known.get(full, Name(full))
        elif isinstance(owner, Pixels) and node.attr in ("shape", "ndim"):
            return calls.shape_of(owner) if node.attr == "shape" else len(owner.shape)
        return self._unknown(node)

    def _of_tuple(self, node: ast.Tuple) -> tuple:
        return tuple(self._elements(node.elts))

    def _of_list(self, node: ast.List) -> list:
        return self._elements(node.elts)

    def _elements(self, nodes: Sequence[ast.expr]) -> list:
        found = []
        for each in nodes:
            if isinstance(each, ast.Starred):
                found += self.value(each.value)
            else:
                found.append(self.value(each))
        return found

    def _of_dict(self, node: ast.Dict) -> dict:
        return {self.value(k): self.value(v) for k, v in zip(node.keys, node.values, strict=True)}

    def _of_slice(self, node: ast.Slice) -> slice:
        ends = (None if end is None else self.value(end) for end in (node.lower, node.upper, node.step))
        return slice(*ends)

    def _of_joinedstr(self, node: ast.JoinedStr) -> Any:
        parts = [self.value(part) for part in node.values]
        known = all(isinstance(part, str | int | float) for part in parts)
        return "".join(map(str, parts)) if known else self._unknown(node)

    def _of_formattedvalue(self, node: ast.FormattedValue) -> Any:
        return self.value(node.value) if node.format_spec is None else self._unknown(node)

    def _of_lambda(self, node: ast.Lambda) -> Function:
        return Function(node)

    def _of_namedexpr(self, node: ast.NamedExpr) -> Any:
        value = self.value(node.value)
        self._set(node.target, value)
        return value

    def _of_ifexp(self, node: ast.IfExp) -> Any:
        return self.value(node.body if self._decide(self.value(node.test)) else node.orelse)

    def _of_boolop(self, node: ast.BoolOp) -> Any:
        for part in node.values[:-1]:
            value = self.value(part)
            if self._decide(value) != isinstance(node.op, ast.And):
                return value
        return self.value(node.values[-1])

    def _of_unaryop(self, node: ast.UnaryOp) -> Any:
        value = self.value(node.operand)
        if isinstance(node.op, ast.Not) and not isinstance(value, Unknown):
            return not self._decide(value)
        known = isinstance(node.op, ast.USub) and isinstance(value, int | float)
        return -value if known else self._unknown(node)

    def _of_binop(self, node: ast.BinOp) -> Any:
        return self._binary(self.value(node.left), self.value(node.right), node)

    def _binary(self, left: Any, right: Any, node: ast.BinOp | ast.AugAssign) -> Any:
        if isinstance(left, Pixels) or isinstance(right, Pixels):
            return self._scaled(left, right, node)
        if isinstance(node.op, ast.Div) and isinstance(left, str) and isinstance(right, str):
            return f"{left}/{right}"  # of pathlib
        function = ARITHMETIC.get(type(node.op))
        numbers = all(isinstance(each, int | float) for each in (left, right))
        joined = (
            isinstance(node.op, ast.Add) and type(left) is type(right) and type(left) in (str, list, tuple)
        )
        if function is None or not (numbers or joined):
            return self._repeated(left, right, node)
        result = function(left, right)
        made = NumpyInteger in (type(left), type(right)) and isinstance(result, int)
        return NumpyInteger(result) if made else result

    def _repeated(self, left: Any, right: Any, node: ast.BinOp | ast.AugAssign) -> Any:
        if isinstance(node.op, ast.Mult) and isinstance(left, list) and type(right) is int:
            return left * min(max(right, 0), LONGEST // max(1, len(left)))
        return self._unknown(node, left, right)

    def _scaled(self, left: Any, right: Any, node: ast.BinOp | ast.AugAssign) -> Any:
        number, image = (right, left) if isinstance(left, Pixels) else (left, right)
        if not isinstance(number, int | float) or image.pillow:
            return self._unknown(node)
        if isinstance(node.op, ast.Mult):
            return image.scaled(number, 0, node)
        if isinstance(node.op, ast.Add):
            return image.scaled(1, number, node)
        if image is left and isinstance(node.op, ast.Sub):
            return image.scaled(1, -number, node)
        if image is left and isinstance(node.op, ast.Div):
            return image.scaled(1 / number, 0, node)
        if image is right and isinstance(node.op, ast.Sub):
            return image.scaled(-1, number, node)
        return self._unknown(node)

    def _of_compare(self, node: ast.Compare) -> Any:
        left = self.value(node.left)
        for kind, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.value(right_node)
            result = self._compared(left, kind, right, node)
            if isinstance(result, Unknown) or not result:
                return result
            left = right
        return True

    def _compared(self, left: Any, kind: ast.cmpop, right: Any, node: ast.Compare) -> Any:
        if isinstance(left, Unknown) or isinstance(right, Unknown):
            return self._unknown(node)
        if isinstance(kind, ast.Is | ast.IsNot):
            if None not in (left, right):
                return self._unknown(node)
            return (left is right) == isinstance(kind, ast.Is)
        sides = [isinstance(each, Probability) for each in (left, right)]
        if any(sides) and not all(sides):
            self.way.thresholds.append(node.lineno)
        if not all(
            isinstance(each, int | float | str | list | tuple | dict | range) or each is None
            for each in (left, right)
        ):
            return self._unknown(node)
        return COMPARISONS[type(kind)](left, right)

    def _of_subscript(self, node: ast.Subscript) -> Any:
        owner, key = self.value(node.value), self.value(node.slice)
        if isinstance(owner, Pixels):
            found = calls.indexed(owner, key, node)
            return self._unknown(node) if found is None else found
        if isinstance(key, tuple) and isinstance(owner, list):
            for each in key:
                owner = owner[each]
            return owner
        return owner[key] if isinstance(owner, list | tuple | dict | str | range) else self._unknown(node)

    def _of_listcomp(self, node: ast.ListComp | ast.GeneratorExp) -> Any:
        return [self.value(node.elt) for _ in self._each(node.generators)]

    _of_generatorexp = _of_setcomp = _of_listcomp

    def _of_dictcomp(self, node: ast.DictComp) -> Any:
        return {self.value(node.key): self.value(node.value) for _ in self._each(node.generators)}

    def _each(self, generators: Sequence[ast.comprehension]) -> Iterator[None]:
        first, *others = generators
        for item in self._items(self.value(first.iter), first):
            self._set(first.target, item)
            if all(self._decide(self.value(condition)) for condition in first.ifs):
                if others:
                    yield from self._each(others)
                else:
                    yield

    # -- calls ---------------------------------------------------------------------------------------------

    def _of_call(self, node: ast.Call) -> Any:
        given = self._elements(node.args)
        named = {keyword.arg: self.value(keyword.value) for keyword in node.keywords if keyword.arg}
        if isinstance(node.func, ast.Attribute):
            owner = self.value(node.func.value)
            if not isinstance(owner, Name | Own):
                return self._method(owner, node.func.attr, given, named, node)
        called = self.value(node.func)
        if isinstance(called, Function):
            return self.call(called, given, named)
        if isinstance(called, Network):
            return self._ask(called, given, node)
        if isinstance(called, Name):
            return self._library(called, given, named, node)
        return self._unknown(node)

    def _library(self, called: Name, given: list, named: dict[str, Any], node: ast.Call) -> Any:
        if called.last == "load_model":
            path = given[0] if given else named.get("filepath")
            certain = isinstance(path, str) and not self._trying  # if it fails, there is another way
            return Network(path if certain else None, node.lineno)
        if called.full in ("builtins.hasattr", "builtins.getattr") and isinstance(given[0], Own):
            there = given[1] in given[0].attributes or given[1] in given[0].methods
            if called.last == "hasattr":
                return there
            return (
                given[0].attributes[given[1]]
                if there
                else (given[2] if len(given) > 2 else self._unknown(node))
            )
        if called.full in ("builtins.max", "builtins.min", "builtins.sorted") and isinstance(
            named.get("key"), Function
        ):
            key = named.pop("key")
            marks = [self.call(key, [item], {}) for item in given[0]]
            ranked = sorted(range(len(marks)), key=marks.__getitem__, reverse=called.last == "max")
            items = [list(given[0])[i] for i in ranked]
            return items if called.last == "sorted" else items[0]
        found = calls.library(called, given, named, node)
        return self._unknown(node, *given) if found is calls.NOT_KNOWN else found

    def _method(self, owner: Any, name: str, given: list, named: dict[str, Any], node: ast.Call) -> Any:
        if name in ("predict", "predict_on_batch", "call") and isinstance(owner, Network | Unknown):
            return self._ask(owner, given or [named.get("x")], node)
        found = calls.method(owner, name, given, named, node)
        return self._unknown(node, owner, *given) if found is calls.NOT_KNOWN else found

    def _ask(self, network: Any, given: list, node: ast.Call) -> Any:
        image = calls.batched(given[0]) if given else None
        self.way.fed.append((network, self._unknown(node, *given) if image is None else image, node))
        return [[Probability(value) for value in self.outputs]]

    def call(self, called: Function, given: list, named: dict[str, Any]) -> Any:
        """Go through a function of the game's own, and return what it returns."""
        if self._depth >= DEEPEST:
            raise Stuck("it calls itself too often", called.node.lineno)
        names = [each.arg for each in (*called.node.args.posonlyargs, *called.node.args.args)]
        static = any(
            ast.unparse(each) == "staticmethod" for each in getattr(called.node, "decorator_list", ())
        )
        given = given if called.owner is None or static else [called.owner, *given]
        scope: dict[str, Any] = dict(zip(names, given, strict=False)) | named
        defaults = called.node.args.defaults
        for name, default in zip(names[len(names) - len(defaults) :], defaults, strict=True):
            if name not in scope:
                scope[name] = self.value(default)
        for name in names:
            scope.setdefault(name, Unknown(called.node.lineno, name))
        self._depth += 1
        if isinstance(called.node, ast.Lambda):
            scope = self._scopes[-1] | scope
        self._scopes.append(scope)
        try:
            if isinstance(called.node, ast.Lambda):
                return self.value(called.node.body)
            self.run(called.node.body)
            return None
        except _Return as returned:
            self.way.returned = returned.node
            return returned.value
        finally:
            self._scopes.pop()
            self._depth -= 1


def _functions(body: Sequence[ast.stmt]) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
