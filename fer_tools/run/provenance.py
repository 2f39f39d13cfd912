"""What a stage depends on: code, parameters, data, environment, what it reads of the run."""

import os
import platform
import subprocess
from importlib import metadata
from typing import Any

from fer_lib.files import UsageError, sha256_of_file
from fer_tools import environment, notebooks, paths
from fer_tools.json_files import sha256_of_json
from fer_tools.run import source_code
from fer_tools.run.run import Run
from fer_tools.run.tree import LARGEST_FILE
from fer_tools.stages import STAGES

PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "matplotlib", "seaborn", "papermill", "pillow")


def inputs(run: Run, stage: str) -> dict[str, Any]:
    """Return all that a stage depends on.

    Returns
    -------
    dict
        Digests, apart from the environment, which is versions by name. Equal inputs: equal outputs.
    """
    document, kind = run.document, STAGES[stage]
    found = {
        "code": code_digest(stage, of_those_read(document, stage, "model")),
        "parameters": sha256_of_json(document["parameters"].get(stage, {})),
        "environment": versions(),
    }
    if kind.reads_data:
        found["data"] = data_digests(run, stage)
    if kind.digest:
        found["data"] = kind.digest(run.parameters(stage))
    if kind.files:
        files = kind.files(run.parameters(stage))
        found |= {name: sha256_of_file(path, LARGEST_FILE) for name, path in files.items()}
    for name in kind.reads:
        outputs = document["stages"].get(name, {}).get("outputs")
        found[STAGES[name].notebook] = sha256_of_json(outputs)
    return found


def of_those_read(document: dict[str, Any], stage: str, parameter: str) -> Any:
    """Return a parameter of a stage, or of a stage that it reads; None where neither has it."""
    given = (document["parameters"].get(name, {}) for name in (stage, *STAGES[stage].reads))
    return next((value for values in given if (value := values.get(parameter))), None)


def data_digests(run: Run, stage: str) -> list[str]:
    """Return the digests of the data that a stage reads, and of those that it tests on if they are others."""
    from fer_lib.data import load

    sources = [item for name in ("data", "test_data") if (item := of_those_read(run.document, stage, name))]
    for item in sources:
        if not isinstance(item, str):
            raise UsageError(f"{run.name}: run.json says that its data are {item!r}; start a new run")
    return [load.data_digest(item) for item in sources]


def code_digest(stage: str, model: str | None = None) -> str:
    """Return the digest of a notebook's code and of what it reaches; see `fer_tools.run.source_code`."""
    path = STAGES[stage].path
    paths.checkout(f"the code of {path.name}")
    notebook = notebooks.of_stage(stage)
    try:
        return source_code.notebook_digest(notebooks.deciding(notebook), model, paths.ROOT)
    except UsageError as error:
        raise UsageError(f"{path.name}: {error}") from None


def executed_notebook(stage: str) -> str:
    """Return the place of an executed notebook in its run."""
    return f"notebooks/{STAGES[stage].notebook}.ipynb"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}


def git_state() -> dict[str, Any]:
    """Return the commit of the checkout, and whether files differ from it; None where git does not know.

    A repository in which the checkout is a folder among others is somebody else's: it does not know, either.
    """

    def git(*arguments: str) -> str | None:
        # The checkout may belong to another user, a container's for example.
        command = ["git", "-c", f"safe.directory={paths.ROOT}", "-C", str(paths.ROOT), *arguments]
        variables = environment.of_tool()
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="surrogateescape", timeout=10, env=variables
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    top = git("rev-parse", "--show-toplevel")
    if not top or not os.path.exists(top) or not os.path.samefile(top, paths.ROOT):
        return {"commit": None, "dirty": None}
    status = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}
