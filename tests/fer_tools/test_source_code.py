"""What a notebook's results depend on: followed through packages, told from prose, refused where unclear."""

import pytest

from fer_lib.files import UsageError
from fer_tools.run import source_code

FILES = {
    "fer_lib/__init__.py": "ONEDNN = 1",
    "fer_lib/plain.py": "def f():\n    return 1\n",
    "fer_lib/pack/__init__.py": "",
    "fer_lib/pack/inner.py": "from ..plain import f\nfrom . import beside\n",
    "fer_lib/pack/beside.py": "VALUE = 2",
    "fer_lib/lonely.py": "VALUE = 3",
    "fer_lib/files.py": "VALUE = 4",
    "helper.py": "VALUE = 5",
}


@pytest.fixture
def root(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def notebook(*cells: str) -> dict:
    return {"cells": [{"cell_type": "code", "source": cell, "metadata": {}} for cell in cells]}


def digest(root, *cells: str) -> str:
    return source_code.notebook_digest(notebook(*cells), None, root)


REACHED = [
    "fer_lib/__init__.py",
    "fer_lib/pack/__init__.py",
    "fer_lib/pack/inner.py",
    "fer_lib/pack/beside.py",
    "fer_lib/plain.py",
]


@pytest.mark.parametrize("name", REACHED)
def test_packages_their_init_and_relative_imports_count(root, name):
    before = digest(root, "from fer_lib.pack import inner")
    with open(root / name, "a") as handle:
        handle.write("\nONEDNN = 0\n")
    assert digest(root, "from fer_lib.pack import inner") != before


@pytest.mark.parametrize("name", ["fer_lib/lonely.py", "fer_lib/files.py"])
def test_what_is_not_reached_and_plumbing_do_not_count(root, name):
    before = digest(root, "from fer_lib.pack import inner\nfrom fer_lib import files")
    (root / name).write_text("VALUE = 0")
    assert digest(root, "from fer_lib.pack import inner\nfrom fer_lib import files") == before


@pytest.mark.parametrize(
    "statement",
    [
        "import fer_lib.pack.inner",
        "import fer_lib.pack.inner as other",
        "from fer_lib.pack.inner import f",
        "def later():\n    from fer_lib.pack import inner",
        "try:\n    import fer_lib.pack.inner\nexcept ImportError:\n    pass",
    ],
)
def test_every_kind_of_import_statement_is_followed(root, statement):
    assert set(source_code.reached(statement, None, root)) == set(REACHED)


def test_a_module_beside_the_packages_counts(root):
    before = digest(root, "import helper")
    (root / "helper.py").write_text("VALUE = 6")
    assert digest(root, "import helper") != before


def test_a_module_that_becomes_a_package_still_counts(root):
    (root / "fer_lib" / "plain.py").unlink()
    (root / "fer_lib" / "plain").mkdir()
    (root / "fer_lib" / "plain" / "__init__.py").write_text(FILES["fer_lib/plain.py"])
    found = source_code.reached("from fer_lib.plain import f", None, root)
    assert set(found) == {"fer_lib/__init__.py", "fer_lib/plain/__init__.py"}


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    return 1  # one\n",
        "# why\ndef f():\n\n    return (1)\n",
        '"""A module."""\ndef f():\n    """Return one."""\n    return 1\n',
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from fer_lib import lonely\n"
        "def f():\n    return 1\n",
    ],
)
def test_prose_and_imports_for_type_checkers_change_nothing(root, text):
    (root / "fer_lib" / "plain.py").write_text(text)
    found = source_code.reached("from fer_lib import plain", None, root)
    assert "fer_lib/lonely.py" not in found
    assert found["fer_lib/plain.py"].endswith("def f():\n    return 1")


def test_prose_in_a_notebook_changes_nothing(root):
    assert digest(root, "x = 1", "y = 2") == digest(root, "# first\nx = 1", "y = (2)  # then")
    assert digest(root, "x = 1") != digest(root, "x = 2")


def test_magics_are_understood(root):
    assert digest(root, "%matplotlib inline\nx = 1") != digest(root, "%matplotlib agg\nx = 1")


@pytest.mark.parametrize(
    ("statement", "lost"),
    [
        ("import fer_lib.gone", "fer_lib.gone"),
        ("from fer_lib import gone", "fer_lib.gone"),
        ("from fer_lib.plain import gone", "fer_lib.plain.gone"),
        ("from fer_lib.pack.gone import f", "fer_lib.pack.gone"),
    ],
)
def test_an_import_that_leads_nowhere_is_refused(root, statement, lost):
    with pytest.raises(UsageError, match=f"imports {lost}, which is not in this checkout"):
        digest(root, statement)


def test_an_import_above_its_package_is_refused(root):
    (root / "fer_lib" / "plain.py").write_text("from ... import f")
    with pytest.raises(UsageError, match=r"fer_lib/plain\.py: imports \.\.\."):
        digest(root, "import fer_lib.plain")


def test_an_import_chosen_at_run_time_is_refused(root):
    with pytest.raises(UsageError, match="only at run time"):
        digest(root, "import importlib\nimportlib.import_module('fer_lib.' + name)")


def test_what_is_not_python_is_refused(root):
    with pytest.raises(UsageError, match=r"cell 2: not Python"):
        digest(root, "x = 1", "x = = 1")
    (root / "fer_lib" / "plain.py").write_text("x = = 1")
    with pytest.raises(UsageError, match=r"fer_lib/plain\.py: not Python"):
        digest(root, "import fer_lib.plain")


def test_other_peoples_packages_are_left_to_the_environment(root):
    assert source_code.reached("import numpy as np\nfrom keras import layers", None, root) == {}


@pytest.mark.parametrize("model", ["../plain", "a/b", "", ".", "a\0b", "x" * 10_000, 10**400, ["plain"], {}])
def test_a_network_that_run_json_made_up_leads_nowhere(root, model):
    (root / "fer_lib" / "models").mkdir()
    (root / "fer_lib" / "models" / "__init__.py").write_text("")
    found = source_code.reached("import fer_lib.models", model, root)
    assert set(found) == {"fer_lib/__init__.py", "fer_lib/models/__init__.py"}


def test_settings_beside_a_module_count(root):
    """A style of figures is no Python, and changes figures all the same."""
    (root / "fer_lib" / "plain.py").write_text("STYLE = open('my.mplstyle')")
    (root / "fer_lib" / "my.mplstyle").write_text("font.size: 9")
    before = digest(root, "import fer_lib.plain")
    (root / "fer_lib" / "other.mplstyle").write_text("font.size: 10")
    assert digest(root, "import fer_lib.plain") == before
    (root / "fer_lib" / "my.mplstyle").write_text("font.size: 10")
    assert digest(root, "import fer_lib.plain") != before
