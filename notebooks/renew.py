"""Renew committed outputs: of the notebooks (from the newest full run), or of the tests' references.

python notebooks/renew.py notebooks     after `fer run` on the bundled faces
python notebooks/renew.py references    executes all four at smoke size
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat

from fer_lib import params, runs
from fer_lib.files import UsageError, sha256_of, write_text

REFERENCES = runs.ROOT / "tests" / "references"
# What results/reference keeps of the run whose outputs the notebooks show: what the README points to.
SHOWN = ("run.json", "metrics.json", "history.csv", "report.pdf", "tables/*.csv", "figures/loss.svg")
SHOWN += tuple(f"figures/{name}.svg" for name in ("accuracy", "confusion_matrix", "factors", "per_class"))


def stamped(notebook: Any, source: Any) -> Any:
    """Remember which code the outputs belong to, and forget who executed it when."""
    notebook.metadata = source.metadata.copy() | {"fer": {"code": sha256_of(runs.notebook_code(source))}}
    for cell in notebook.cells:
        for key in ("papermill", "execution", "jupyter"):
            cell.metadata.pop(key, None)
    return notebook


def read(path: Path) -> Any:
    """Read a notebook."""
    return nbformat.read(path, as_version=4)


def renew_notebooks() -> None:
    """Put the outputs of the newest full run on the bundled faces into notebooks/ and results/reference/."""
    wanted = params.resolve("section5", {})
    run = next((run for run, document in runs.every() if document["parameters"] == wanted), None)
    if run is None:
        raise UsageError("no run of the default parameters; `fer run` first")
    for stage in runs.STAGES:
        if reason := run.stale_reason(stage):
            raise UsageError(f"{run.name}: {stage} is stale ({reason}); `fer run --resume {run.name}` first")
        path = runs.notebook_path(stage)
        source, executed = read(path), read(run.path / "notebooks" / path.name)
        cells = [c for c in executed.cells if "injected-parameters" not in c.metadata.get("tags", [])]
        for cell, done in zip(source.cells, cells, strict=True):
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = done.outputs, done.execution_count
        write_text(path, nbformat.writes(stamped(source, source)) + "\n")
        print(path)
    reference = runs.ROOT / "results" / "reference"
    shutil.rmtree(reference, ignore_errors=True)
    for path in [found for pattern in SHOWN for found in sorted(run.path.glob(pattern))]:
        copy = reference / path.relative_to(run.path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    shutil.copyfile(run.model_path, reference / "model.keras")
    print(reference)


def renew_references() -> None:
    """Execute the notebooks at smoke size into tests/references/."""
    import papermill

    REFERENCES.mkdir(exist_ok=True)
    values = params.resolve("smoke", {})
    with tempfile.TemporaryDirectory() as results:
        os.environ["FER_RESULTS"] = results
        for stage, kind in runs.STAGES.items():
            path = REFERENCES / f"{kind.notebook}.ipynb"
            papermill.execute_notebook(
                runs.notebook_path(stage),
                path,
                parameters=values[stage],
                kernel_name="python3",
                progress_bar=False,
            )
            executed = stamped(read(path), read(runs.notebook_path(stage)))
            for cell in executed.cells:
                if "nbval-ignore-output" in cell.metadata.get("tags", []):
                    cell.outputs = []  # nothing is compared here, so nothing is kept
            write_text(path, nbformat.writes(executed) + "\n")
            print(path)


if __name__ == "__main__":
    try:
        {"notebooks": renew_notebooks, "references": renew_references}[sys.argv[1]]()
    except UsageError as error:
        sys.exit(f"renew: {error}")
