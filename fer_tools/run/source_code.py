"""What code the results of a notebook depend on: its own cells, and every module that they reach by import.

Compared is the syntax tree without comments and docstrings, so prose can be edited freely; imports for type
checkers alone do not count. Modules are those of the checkout, packages with every `__init__` on the way to
them; what else is imported is a package with a version, and part of the environment that a run records.
"""

import ast
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from fer_lib.files import ROOT, UsageError, sha256_of, sha256_of_file

# How a run is kept and shown decides no number in it. Counted, it would make every digest depend on all.
PLUMBING = (
    "fer_lib/files.py",
    "fer_tools/run/",
    "fer_tools/checking.py", "fer_tools/console.py", "fer_tools/json_files.py", "fer_tools/kinds.py",
    "fer_tools/locks.py", "fer_tools/metrics.py", "fer_tools/parameters.py", "fer_tools/paths.py",
    "fer_tools/progress.py", "fer_tools/scratch.py", "fer_tools/stages.py",
)  # fmt: skip
# Magics that execute files, earlier cells or what another session stored, rename magics, or write modules.
HIDING = frozenset(
    "alias_magic ed edit file load loadpy macro recall rep rerun run save store writefile".split()
)
IMPORTING = ("aimport", "load_ext", "reload_ext")  # magics that import a module
DEEPEST = 5  # magics within magics, such as `%time` below `%%capture`
MOST_OPTIONS = 20  # words of a line, among which the code that its magic executes begins
# One module imports others by names that are not in its text: the networks, of which a run has one.
NETWORKS = "fer_lib/models/__init__.py"
SETTINGS = re.compile(r"[\w-]+\.(mplstyle|json|ya?ml|toml|csv)")


def notebook_digest(notebook: dict[str, Any], model: str | None = None, root: Path = ROOT) -> str:
    """Return the SHA-256 of a notebook's code and of all modules that it reaches.

    Parameters
    ----------
    notebook : dict
        As nbformat 4 has it; cells that hold parameters do not count.
    model : str, optional
        The one network that counts, where networks are reached.
    root : Path
        The checkout.

    Raises
    ------
    UsageError
        If a cell or a module is not Python, or an import leads to nothing in the checkout.
    """
    source = notebook_code(notebook)
    parts = [source]
    for key, text in sorted(reached(source, model, root).items()):
        parts += [key, text]
    return sha256_of(*parts)


def notebook_code(notebook: dict[str, Any]) -> str:
    """Return the code of a notebook without parameters, comments and layout.

    Magics are what IPython makes of them. The Python that they execute, as that of `%%time`, follows them.

    Raises
    ------
    UsageError
        If a cell is not Python, or has a magic that brings in what is not in the notebook; named by number.
    """
    texts = []
    for number, cell in enumerate(notebook["cells"], 1):
        tags = cell.get("metadata", {}).get("tags", [])
        if cell["cell_type"] == "code" and not {"parameters", "injected-parameters"} & set(tags):
            texts += _cell("".join(cell["source"]), f"cell {number}")
    return "\n".join(filter(None, texts))


@lru_cache(maxsize=256)
def _cell(source: str, where: str, depth: int = 0) -> tuple[str, ...]:
    """Return canonical code of a cell, then that of what its magics execute, which may have magics, too."""
    found = [code := _python(source, where)]
    for name, *texts in _magics(code, where):
        if name in HIDING or depth > DEEPEST:
            raise UsageError(
                f"{where}: %{name} brings in code that no cell shows, so nobody can tell whether its results "
                "are stale; write that code into a cell, or into a module and import it"
            )
        if name in IMPORTING:
            found.append(_python(f"import {', '.join(re.split(r'[ ,]+', texts[0].strip()))}", where))
        for text, most in zip(texts, (MOST_OPTIONS, 1), strict=False):
            found += _executed(text, where, depth + 1, most)
    return tuple(found)


def _python(source: str, where: str) -> str:
    """Return canonical code of a cell as IPython reads it."""
    try:
        return canonical(source, where)
    except UsageError:
        from IPython.core.inputtransformer2 import TransformerManager

        try:  # perhaps it has magics, such as %matplotlib
            source = TransformerManager().transform_cell(source)
        except (SyntaxError, ValueError, RuntimeError):
            pass
        return canonical(source, where)


def _magics(code: str, where: str) -> Iterator[list[str]]:
    """Yield name, line and, of a cell's magic, the lines below it, of each magic in canonical code."""
    for node in ast.walk(ast.parse(code)):
        called = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
        if called in ("run_line_magic", "run_cell_magic"):
            given = [getattr(argument, "value", None) for argument in node.args]
            if len(given) < 2 or not all(isinstance(text, str) for text in given):
                raise UsageError(f"{where}: {called}() says only at run time what it does; write the magic")
            yield given


def _executed(text: str, where: str, depth: int, most: int) -> tuple[str, ...]:
    """Return the code that a magic may execute: all of a text, or what follows fewer than `most` words."""
    for word in islice(re.finditer(r"\S+", text), most):
        code = text[word.start() :] if most > 1 else text
        try:
            _python(code, where)
        except UsageError:
            continue
        return _cell(code, where, depth)
    return ()


@lru_cache(maxsize=256)
def canonical(source: str, where: str) -> str:
    """Return Python code without comments, docstrings, layout, and imports for type checkers alone.

    Raises
    ------
    UsageError
        If it is not Python; `where` names it.
    """
    tree = parsed(source, where)
    try:
        return ast.unparse(_without_prose(tree))
    except RecursionError as error:
        raise UsageError(f"{where}: not Python that can be read ({error}); mend it") from error


def parsed(source: str, where: str) -> ast.Module:
    """Return the syntax tree of somebody else's Python.

    Raises
    ------
    UsageError
        If it is not Python; `where` names it.
    """
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # ValueError: a null character
        what = f"{error.msg}, line {error.lineno}" if isinstance(error, SyntaxError) else str(error)
        raise UsageError(f"{where}: not Python ({' '.join(what.split())}); mend it") from error


def _without_prose(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        has_docstring = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if has_docstring and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            node.body = [ast.Pass()]
    return tree


def reached(source: str, model: str | None = None, root: Path = ROOT) -> dict[str, str]:
    """Return the modules that canonical code reaches by import statements, directly or through others.

    Parameters
    ----------
    source : str
        Of `canonical`.
    model, root
        As in `notebook_digest`.

    Returns
    -------
    dict
        Canonical code by path relative to `root`, without `PLUMBING`; and digests of the files of settings
        that modules name.

    Raises
    ------
    UsageError
        If an import leads to nothing in the checkout, or says only at run time where it leads.
    """
    found: dict[str, str] = {}
    waiting = [("", source)]
    while waiting:
        key, text = waiting.pop()
        for path in _imported(text, key, model, root):
            name = path.relative_to(root).as_posix()
            if name not in found and not name.startswith(PLUMBING):
                found[name] = canonical(path.read_text(encoding="utf-8"), name)
                waiting.append((name, found[name]))
                found |= {
                    f"{name}: {file.name}": sha256_of_file(file) for file in _settings(found[name], path)
                }
    return found


def _settings(source: str, path: Path) -> Iterator[Path]:
    """Yield the files of settings beside a module that its code names, a style of figures perhaps."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SETTINGS.fullmatch(node.value):
            if (file := path.with_name(node.value)).is_file():
                yield file


def _imported(source: str, key: str, model: str | None, root: Path) -> Iterator[Path]:
    """Yield the files that one module, named by its path `key`, imports."""
    for module, names in _statements(source, key):
        if not module or not ((root / module[0]).is_dir() or (root / f"{module[0]}.py").is_file()):
            continue  # somebody else's package
        way = _way(root, module, key)
        yield from filter(None, way)
        for name in names:
            yield from _item(root, module, way[-1], name, key)
    if key == NETWORKS and isinstance(model, str) and model.isidentifier():  # run.json may say anything
        network = (root / NETWORKS).with_name(f"{model}.py")
        yield from [network] if os.path.isfile(network) else []  # Path.is_file raises at a long name


def _item(root: Path, module: tuple[str, ...], file: Path | None, name: str, key: str) -> list[Path]:
    """Return the files behind a name imported from a module, whose own is `file`: none if it is no module."""
    below = [path for path in _files(root, (*module, name)) if path.exists()]
    if below and (file is None or file.name == "__init__.py"):
        return [path for path in below if path.is_file()]
    if name != "*" and (file is None or name not in _bound(file.read_text(encoding="utf-8"))):
        raise _lost(key, f"{'.'.join(module)}.{name}")
    return []


@lru_cache(maxsize=256)
def _statements(source: str, key: str) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """Return (parts of a module's full name, names imported from it) of each import statement."""
    found: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    package = Path(key).parent.parts
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += ((tuple(alias.name.split(".")), ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level > len(package):
                raise _lost(key, "." * node.level + (node.module or ""))
            above = package[: len(package) - node.level + 1] if node.level else ()
            below = tuple(node.module.split(".")) if node.module else ()
            found.append((above + below, tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.Call) and key != NETWORKS:
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in ("import_module", "__import__"):
                raise UsageError(
                    f"{key or 'notebook'}: {called}() says only at run time what is imported, so nobody can "
                    "tell whether its results are stale; use an import statement"
                )
    return tuple(found)


def _files(root: Path, module: tuple[str, ...]) -> list[Path]:
    """Return where a module may be: a package with or without `__init__`, or a file."""
    base = root.joinpath(*module)
    return [base / "__init__.py", base.with_name(f"{base.name}.py"), *([base] if base.is_dir() else [])]


def _way(root: Path, module: tuple[str, ...], key: str) -> list[Path | None]:
    """Return the file of each package on the way to a module and its own; None where a folder has none."""
    way = []
    for depth in range(1, len(module) + 1):
        there = [path for path in _files(root, module[:depth]) if path.exists()]
        if not there:
            raise _lost(key, ".".join(module))
        way.append(there[0] if there[0].is_file() else None)
    return way


@lru_cache(maxsize=256)
def _bound(source: str) -> frozenset[str]:
    """Return the names that a module has when it has been imported."""
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            continue
        if isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        waiting += ast.iter_child_nodes(node)
    return frozenset(names | {"__name__", "__file__", "__doc__", "__path__"})


def _lost(key: str, name: str) -> UsageError:
    return UsageError(
        f"{key or 'notebook'}: imports {name}, which is not in this checkout; "
        "mend the import or restore the file"
    )
