"""Renew what is committed of runs: notebooks' outputs, the tests' references, the network that is shipped.

python notebooks/renew.py notebooks         after `fer run` on the bundled faces
python notebooks/renew.py references        executes all four at smoke size
python notebooks/renew.py model RUN RUN ... the first is shipped; the others, of other seeds, are its spread
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat

from fer_lib import params, runs, source_code
from fer_lib.files import UsageError, sha256_of, sha256_of_file, write_json, write_text

REFERENCES = runs.ROOT / "tests" / "references"
# What results/reference keeps of the run whose outputs the notebooks show: what the README points to.
SHOWN = (
    "run.json",
    "metrics.json",
    "history.csv",
    "report.pdf",
    "report.tex",
    "tables/*.csv",
    "figures/loss.svg",
)
SHOWN += tuple(f"figures/{name}.svg" for name in ("accuracy", "confusion_matrix", "factors", "per_class"))

OVER_SEEDS = (
    "test.accuracy",
    "test.accuracy_low",
    "test.accuracy_high",
    "test.balanced_accuracy",
    "test.loss",
)
PATHS = ("data.source", "test.source")  # they say where on a machine the data were


def stamped(notebook: Any, source: Any) -> Any:
    """Remember which code the outputs belong to, and forget who executed it when."""
    notebook.metadata = source.metadata.copy() | {"fer": {"code": sha256_of(source_code.notebook_code(source))}}
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
    found = dict.fromkeys(runs.REQUIRED, run)
    studied = (run for run, document in runs.every() if "optimisation" in document["stages"])
    if latest := next(studied, None):
        found["optimisation"] = latest
    for stage, shown in found.items():
        if reason := shown.stale_reason(stage):
            raise UsageError(
                f"{shown.name}: {stage} is stale ({reason}); `fer run --resume {shown.name}` first"
            )
        path = runs.notebook_path(stage)
        source, executed = read(path), read(shown.path / "notebooks" / path.name)
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
    values = params.resolve("smoke", {"study": "example"})
    with tempfile.TemporaryDirectory() as results:
        os.environ["FER_RESULTS"] = results
        shutil.copytree(REFERENCES / "example_study", Path(results) / "example_study")
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


def renew_model(*names: str) -> None:
    """Ship the network of a run with the package: weights, measurements (.json), model card (.md, .svg)."""
    import pandas as pd

    from fer_lib import drawing, layers, safe_model, shipped, training

    found = [runs.find(name) for name in names]
    settings = [run.document["parameters"]["training"] for run in found]
    for run, values in zip(found, settings, strict=True):
        if values | {"seed": 0} != settings[0] | {"seed": 0}:
            raise UsageError(f"{run.name}: differs from {found[0].name} in more than its seed")
        for stage in ("training", "overfitting", "evaluation"):
            if reason := run.stale_reason(stage):
                raise UsageError(f"{run.name}: {stage} is stale ({reason}); ship a run that is up to date")
    path = shipped.path(settings[0]["model"])
    training.save_model(layers.without_augmentation(safe_model.load(found[0].model_path)), path)
    seeds = [
        {"seed": values["seed"]}
        | {key.removeprefix("test."): run.metrics[key] for key in OVER_SEEDS}
        | {"val_accuracy": pd.read_csv(run.path / "history.csv")["val_accuracy"].round(4).tolist()}
        for run, values in zip(found, settings, strict=True)
    ]
    content = {
        "sha256": sha256_of_file(path),
        "classes": settings[0]["classes"],
        "parameters": {name: value for name, value in settings[0].items() if not name.endswith("data")},
        "metrics": {key: found[0].metrics[key] for key in sorted(found[0].metrics) if key not in PATHS},
        "seeds": seeds,
        "minutes": round(found[0].document["stages"]["training"]["seconds"] / 60, 1),
        "machine": found[0].document["machine"] | {"threads": found[0].document.get("threads")},
    }
    write_json(path.with_suffix(".json"), content)
    write_text(path.with_suffix(".md"), shipped.card(content))
    drawing.save(shipped.curve(content), path.with_suffix(""), kinds=("svg",))
    print(path)


if __name__ == "__main__":
    try:
        {"notebooks": renew_notebooks, "references": renew_references, "model": renew_model}[sys.argv[1]](
            *sys.argv[2:]
        )
    except UsageError as error:
        sys.exit(f"renew: {error}")
