"""How the house is built: who may import whom, how large the course is, and how complex a function may be."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from fer_tools import paths

PACKAGES = ("fer_lib", "fer_tools", "faces")
MOST_LINES = 2_450  # of code in fer_lib, docstrings, comments and blanks apart
MOST_COMPLEX = 15  # a function, as ruff counts


def module_name(path: Path) -> str:
    parts = path.relative_to(paths.ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(*folders: str) -> dict[str, Path]:
    """Return the files of folders by the full name of their module."""
    found = (path for folder in folders for path in sorted((paths.ROOT / folder).rglob("*.py")))
    return {module_name(path): path for path in found}


HOUSE = modules(*PACKAGES)
TESTS = modules("tests")
# Tests and notebooks import helpers by the file's name alone, as pyproject sets the path.
SHORT = {name.rpartition(".")[2]: name for name in TESTS}


@lru_cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(name: str, path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (module, name imported from it or "", the name it gets here) of all imports, inner ones too."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, "", alias.asname or alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield module, alias.name, alias.asname or alias.name


def imported(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """Return the modules, of those known, that a module names in its imports."""
    found = set()
    for module, item, _ in imports(name, path):
        inner = f"{module}.{item}"
        found |= {inner if inner in known else module} & set(known)
    return found


def test_the_course_never_imports_the_tools():
    leaning = {
        f"{name}: {module}"
        for name, path in modules("fer_lib").items()
        for module, *_ in imports(name, path)
        if module.partition(".")[0] in ("fer_tools", "faces")
    }
    assert not leaning


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Return the ways on which a module, by imports of imports, comes back to itself; one for each."""
    found = []
    for start in arrows:
        ways, seen = [[start]], set()
        while ways:
            way = ways.pop()
            if start in arrows[way[-1]]:
                found.append([*way, start])
                break
            ways += [[*way, other] for other in arrows[way[-1]] - seen]
            seen |= arrows[way[-1]]
    return found


def test_no_imports_go_round_in_circles():
    """Counting those inside functions; a package counts where it is imported itself, not on the way."""
    assert circles({name: imported(name, path, HOUSE) for name, path in HOUSE.items()}) == []


def test_a_circle_is_found():
    assert circles({"a": {"b", "c"}, "b": {"d"}, "c": set(), "d": {"a"}})[0] == ["a", "b", "d", "a"]
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"c"}}) == [["c", "c"]]
    assert not circles({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def lines_of_code(path: Path) -> int:
    """Count the lines of a file that are not blank, not comments alone, and not in docstrings."""
    prose: set[int] = set()
    for node in ast.walk(tree(path)):
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            prose |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return sum(bool(line) and not line.startswith("#") and i not in prose for i, line in enumerate(lines, 1))


def test_the_course_is_small():
    lines = sum(map(lines_of_code, modules("fer_lib").values()))
    print(f"fer_lib: {lines:,} lines of code")
    assert lines < MOST_LINES


def test_no_test_imports_another():
    tests = {stem for stem in SHORT if stem.startswith("test_")}
    taken = {
        f"{name}: {module}.{item}"
        for name, path in TESTS.items()
        for module, item, _ in imports(name, path)
        if tests & {*module.split("."), item}
    }
    assert not taken


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def taken_private_names(name: str, path: Path) -> Iterator[str]:
    """Yield the private names that a module takes from other modules of ours, by import or as attributes."""
    known = HOUSE | TESTS
    aliases = {}
    for module, item, alias in imports(name, path):
        module = SHORT.get(module, module)
        if module not in known:
            continue
        if private(item):
            yield f"{name}: {module}.{item}"
        elif not item:
            aliases[alias] = module
        elif f"{module}.{item}" in known:
            aliases[alias] = f"{module}.{item}"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and private(node.attr):
            owner = ast.unparse(node.value)
            if owner in aliases:
                yield f"{name}:{node.lineno}: {aliases[owner]}.{node.attr}"
        # monkeypatch.setattr(module, "_name", ...)
        elif isinstance(node, ast.Call) and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
            owner, text = ast.unparse(node.args[0]), node.args[1].value
            if owner in aliases and isinstance(text, str) and private(text):
                yield f"{name}:{node.lineno}: {aliases[owner]}.{text}"


def test_private_names_stay_in_their_module():
    assert [use for name, path in (HOUSE | TESTS).items() for use in taken_private_names(name, path)] == []


DOCUMENTED = ("_asdict", "_fields", "_replace", "_exit")  # of named tuples, and of os


def private_attributes(name: str, path: Path) -> Iterator[str]:
    """Yield the private attributes that a module uses of anything but an object of its own class."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in DOCUMENTED:
            if (owner := ast.unparse(node.value)) not in ("self", "cls"):
                yield f"{name}:{node.lineno}: {owner}.{node.attr}"


def test_no_private_name_of_keras_or_tensorflow_is_used():
    """Nor of any other library: what a model or an optimiser keeps to itself comes without a promise."""
    assert [use for name, path in HOUSE.items() for use in private_attributes(name, path)] == []
    taken = [
        f"{name}: {module}.{item}"
        for name, path in HOUSE.items()
        for module, item, _ in imports(name, path)
        if any(map(private, [*module.split("."), item]))
    ]
    assert taken == []


def test_one_module_alone_reaches_into_keras():
    """It has to make Keras forget variables without memory, for which there is no public way."""
    inside = {
        name
        for name, path in HOUSE.items()
        for module, item, _ in imports(name, path)
        if f"{module}.{item}.".startswith(("keras.src.", "tensorflow.python."))
    }
    assert inside == {"fer_tools.model_files.loading"}


@pytest.mark.parametrize("folder", [*PACKAGES, "tests", "notebooks"])
def test_no_function_is_too_complex(folder):
    limit = f"lint.mccabe.max-complexity={MOST_COMPLEX}"
    command = [sys.executable, "-m", "ruff", "check", "--select", "C901", "--config", limit, folder]
    done = subprocess.run(command, capture_output=True, text=True, cwd=paths.ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_process_gets_an_environment_of_its_own():
    """Of `fer_tools.environment`, which makes it; no tool inherits a user's shell."""
    for name, path in modules("fer_tools").items():
        for node in ast.walk(tree(path)):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called.startswith(("subprocess.", "os.system", "os.popen")):
                given = any(keyword.arg == "env" for keyword in node.keywords)
                assert given or name == "fer_tools.environment" or "CompletedProcess" in called, (
                    name,
                    called,
                )
