"""Renew what is committed of runs: notebooks' outputs, what tests compare with, the network that is shipped.

python -m fer_tools.renew notebooks      after `fer run`: outputs of the newest full run, results/reference
python -m fer_tools.renew references     notebooks executed at smoke size, in tests/references
python -m fer_tools.renew vectors        pictures and the network's input made of them, in tests/references
python -m fer_tools.renew digests        no outputs, only the digests of the code that they belong to
python -m fer_tools.renew overfit        after `fer run --preset overfit`: the history that notebook 03 shows
python -m fer_tools.renew model RUN ...  the first is shipped; the others, of other seeds, are its spread
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat

from fer_lib.files import UsageError, sha256_of, sha256_of_file, write_text
from fer_tools import checking, environment, model_card, notebooks, paths, pretrained
from fer_tools.console import exit_code
from fer_tools.json_files import write_json
from fer_tools.overfit import example
from fer_tools.run import find, provenance, source_code
from fer_tools.run.edges import stale_reason
from fer_tools.run.run import MODEL, Run
from fer_tools.stages import REQUIRED, STAGES

INJECTED = "injected-parameters"  # tag of the cell in which papermill sets parameters
PRESET = "section5"  # of the run that the notebooks show
# What results/reference keeps of it: what the README points to, and what is small.
SHOWN = (
    *("run.json", "metrics.json", "history.csv", "report.json", "report.pdf", "report.tex", "tables/*.csv"),
    *(f"figures/{name}.svg" for name in ("loss", "accuracy", "confusion_matrix", "factors", "per_class")),
)
OVER_SEEDS = (
    "test.accuracy",
    "test.accuracy_low",
    "test.accuracy_high",
    "test.balanced_accuracy",
    "test.loss",
)
PLACES = ("data.source", "test.source")  # they say where on a machine the data were


def renew_notebooks() -> None:
    """Put the outputs of the newest full run on the bundled faces into notebooks/ and results/reference/.

    A stage that not every run has is shown from the newest run that has it, if there is one.

    Raises
    ------
    UsageError
        If there is no such run, or one that would be shown is not up to date.
    """
    full, every = find.of_parameters(checking.resolve(PRESET, {})), find.all_runs()
    if full is None:
        raise UsageError(f"no run of the preset {PRESET}; `fer run` first")
    shown = {
        stage: next((run for run, document in every if stage in document["stages"]), None) for stage in STAGES
    }
    shown |= dict.fromkeys(REQUIRED, full)
    shown = {stage: run for stage, run in shown.items() if run}
    for stage, run in shown.items():
        _up_to_date(run, stage)
    for stage, run in shown.items():
        _show(stage, run)
    _keep_excerpt(full, _reference())


def _up_to_date(run: Run, stage: str) -> None:
    if reason := stale_reason(run, stage):
        raise UsageError(f"{run.name}: {stage} is stale ({reason}); `fer run --resume {run.name}` first")


def _show(stage: str, run: Run) -> None:
    """Put the outputs of a run into the notebook of a stage."""
    path = STAGES[stage].path
    source, executed = _read(path), _read(run.path / provenance.executed_notebook(stage))
    for cell, done in zip(source.cells, _without_injected(executed), strict=True):
        if cell.cell_type == "code":
            cell.outputs = done.outputs
    _write(path, source, source)


def _keep_excerpt(run: Run, reference: Run) -> None:
    """Copy what the README points to, with the model inside, and say in run.json that it is an excerpt."""
    shutil.rmtree(reference.path, ignore_errors=True)
    for path in [found for pattern in SHOWN for found in sorted(run.path.glob(pattern))]:
        copy = reference.path / path.relative_to(run.path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    shutil.copyfile(run.model_path, reference.path / MODEL)
    reference.update(excerpt=True)
    print(reference.path)


def renew_references() -> None:
    """Execute the notebooks at smoke size into tests/references/."""
    import papermill

    values = checking.resolve("smoke", {"study": "example", "trace": paths.EXAMPLE})
    values |= checking.resolve("smoke", {"source": pretrained.NAME, "repeats": 1, "epochs": 1})
    for stage in STAGES:
        provenance.code_digest(stage)  # its notebook can be executed
    study = "example_study"
    with tempfile.TemporaryDirectory() as results, environment.variable("FER_RESULTS", results):
        shutil.copytree(_references() / study, Path(results) / study)
        for stage, kind in STAGES.items():
            path = _references() / kind.path.name
            papermill.execute_notebook(
                kind.path, path, parameters=values[stage], kernel_name="python3", progress_bar=False
            )
            executed = _read(path)
            for cell in executed.cells:
                tags = cell.metadata.get("tags", [])
                if INJECTED in tags:
                    cell.id = INJECTED  # papermill's is another each time
                if "nbval-ignore-output" in tags:
                    cell.outputs = []  # nothing is compared here, so nothing is kept
            _write(path, executed, _read(kind.path))


def renew_vectors() -> None:
    """Write the pictures with which a browser's way from picture to network is compared."""
    from fer_tools import face_to_input

    path = _references() / "face_to_input.json"
    face_to_input.write(path)
    print(path)


def renew_overfit() -> None:
    """Put the history of the newest run of the preset `overfit` into fer_tools/overfit/, and how it was made.

    Raises
    ------
    UsageError
        If there is no such run, or its training is not up to date.
    """
    run = find.of_parameters(checking.resolve(example.PRESET, {}))
    if run is None:
        raise UsageError(f"no run of the preset {example.PRESET}; `fer run --preset {example.PRESET}` first")
    _up_to_date(run, "training")
    print(example.commit(run))


def renew_digests() -> None:
    """Say of the committed outputs that they are those of the code as it is now, without executing anything.

    This is legitimate only where code has moved, or was rewritten, and a full run before and one after it
    gave equal numbers, figures and tables (`fer verify reference`, or `fer compare` of two runs): nothing
    here looks at a number. After any other change, `notebooks` and `references` execute the notebooks.

    Written are the digests of code in results/reference/run.json, the stamps in notebooks/ and
    tests/references/, and the cells of the latter, which become those of the former.

    Raises
    ------
    UsageError
        If data or parameters, too, are others than those of the outputs, or a notebook has other cells than
        its outputs. Nothing is written then.
    """
    reference = _reference()
    entries = {stage: _with_code_of_now(reference, stage) for stage in reference.document["stages"]}
    pairs = [(kind, *_with_cells_of_now(kind.path)) for kind in STAGES.values()]
    for kind, source, executed in pairs:
        _write(kind.path, source, source)
        _write(_references() / kind.path.name, executed, source)
    reference.update(stages=entries, excerpt=True)
    print(reference.path)


def _with_code_of_now(run: Run, stage: str) -> dict[str, Any]:
    """Return what run.json says of a stage, with the digest of the code as it is now."""
    entry, now = run.document["stages"][stage], provenance.inputs(run, stage)
    then = entry["inputs"]
    changed = [name for name in now if now[name] != then.get(name) and name not in ("code", "environment")]
    if changed:
        raise UsageError(
            f"{run.path}: {stage}: not only the code has changed ({', '.join(changed)}); "
            "make the outputs anew: `renew notebooks`"
        )
    return entry | {"inputs": then | {"code": now["code"]}}  # in the environment they were made in


def _with_cells_of_now(path: Path) -> tuple[Any, Any]:
    """Return a notebook, and the one of tests/references with the cells of that one."""
    source, executed = _read(path), _read(_references() / path.name)
    cells = _without_injected(executed)
    if [cell.cell_type for cell in cells] != [cell.cell_type for cell in source.cells]:
        raise UsageError(f"{path}: the one in {_references()} has other cells; `renew references` first")
    for cell, now in zip(cells, source.cells, strict=True):
        cell.source = now.source
    return source, executed


def renew_model(*names: str) -> None:
    """Ship the network of a run with the package: weights, measurements (.json), model card (.md, .svg).

    Raises
    ------
    UsageError
        If the runs differ in more than their seeds, or one is not up to date.
    """
    import pandas as pd

    from fer_lib import checkpoints
    from fer_lib.figures import style
    from fer_tools.model_files import export, loading

    found = [find.open_run(name) for name in names]
    settings = [checking.plain(run.parameters("training")) for run in found]
    for run, values in zip(found, settings, strict=True):
        if values | {"seed": 0} != settings[0] | {"seed": 0}:
            raise UsageError(f"{run.name}: differs from {found[0].name} in more than its seed")
        for stage in REQUIRED:
            _up_to_date(run, stage)
    path = pretrained.path(settings[0]["model"])
    checkpoints.save_model(export.without_augmentation(loading.load(found[0].model_path)), path)
    seeds = [
        {"seed": values["seed"]}
        | {key.removeprefix("test."): run.metrics[key] for key in OVER_SEEDS}
        | {"val_accuracy": pd.read_csv(run.path / "history.csv")["val_accuracy"].tolist()}
        for run, values in zip(found, settings, strict=True)
    ]
    content = {
        "sha256": sha256_of_file(path),
        "classes": settings[0]["classes"],
        "parameters": {name: value for name, value in settings[0].items() if not name.endswith("data")},
        "metrics": {key: value for key, value in sorted(found[0].metrics.items()) if key not in PLACES},
        "seeds": seeds,
        "minutes": found[0].require("training")["seconds"] / 60,
        "machine": found[0].document["machine"] | {"threads": found[0].document.get("threads")},
    }
    write_json(path.with_suffix(".json"), content)
    write_text(path.with_suffix(".md"), model_card.card(content))
    style.save(model_card.curve(content), path.with_suffix(""), kinds=("svg",))
    print(path)


def _reference() -> Run:
    return Run(paths.ROOT / "results" / "reference")


def _references() -> Path:
    return paths.ROOT / "tests" / "references"


def _read(path: Path) -> Any:
    return nbformat.reads(json.dumps(notebooks.read(path)), as_version=4)


def _without_injected(notebook: Any) -> list[Any]:
    """Return the cells of an executed notebook but for the one in which papermill set parameters."""
    return [cell for cell in notebook.cells if INJECTED not in cell.metadata.get("tags", [])]


def _write(path: Path, notebook: Any, source: Any) -> None:
    """Write a notebook without a trace of who executed it when; with the code that its outputs belong to.

    Code cells are numbered without gaps.
    """
    notebook.metadata = source.metadata.copy() | {
        "fer": {"code": sha256_of(source_code.notebook_code(source))}
    }
    for cell in notebook.cells:
        for key in ("papermill", "execution", "jupyter"):
            cell.metadata.pop(key, None)
    code = (cell for cell in notebook.cells if cell.cell_type == "code")
    for number, cell in enumerate(code, 1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
    write_text(path, nbformat.writes(notebook) + "\n")
    print(path)


ACTIONS: dict[str, Callable[..., None]] = {
    "notebooks": renew_notebooks,
    "references": renew_references,
    "vectors": renew_vectors,
    "overfit": renew_overfit,
    "digests": renew_digests,
    "model": renew_model,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, or 2 where nothing could be renewed."""
    parser = argparse.ArgumentParser(
        prog="renew", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("runs", nargs="*", metavar="RUN")
    given = parser.parse_args(arguments)
    if (given.action == "model") != bool(given.runs):
        parser.error("`model` needs at least one RUN, and nothing else takes one")

    def renew() -> None:
        paths.checkout(f"renew {given.action}")
        ACTIONS[given.action](*given.runs)

    return exit_code(renew)


if __name__ == "__main__":
    sys.exit(main())
