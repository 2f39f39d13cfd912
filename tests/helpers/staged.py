"""Runs whose stages are gone through as a notebook does it, without training; and run directories by hand."""

import shutil
from pathlib import Path

from fer_tools import checking, paths
from fer_tools.json_files import write_json
from fer_tools.run.run import Run
from fer_tools.run.stage import OpenStage, begin

TRAINING_METRICS = {"samples": 24, "final_loss": 1.25}


def settings(stage: str, run: Run | None = None, **values):
    """Return the parameters of a stage of a run, or of one that the stage chooses."""
    return checking.build(stage, values | ({"run": str(run.path)} if run else {}))


def train(faces: Path, run: Run | None = None, **values) -> OpenStage:
    """Go through what notebook 02 does to a run, without training."""
    run = begin("training", settings("training", run, data=str(faces), **values))
    for epoch in (1, 2):
        path = run.path / "checkpoints" / f"epoch_{epoch:03d}.keras"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"weights %d" % epoch)
        run.keep(path)
    (run.path / "history.csv").write_text("epoch,loss\n1,1.0\n2,0.9\n")
    run.keep(run.path / "history.csv")
    run.record("model", {"name": "basic_model", "parameters": 118_531})
    run.record("training", TRAINING_METRICS)
    run.finish()
    return run


def choose(run: Run | None = None, epoch: int = 2) -> OpenStage:
    """Go through what notebook 03 does to a run."""
    run = begin("overfitting", settings("overfitting", run))
    run.keep_model(epoch)
    for suffix in (".svg", ".pdf"):
        path = run.path / "figures" / f"loss{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"a curve {suffix}")
        run.keep(path)
    run.record("overfitting", {"best_epoch": epoch, "found": True, "onset_epoch": None})
    run.finish()
    return run


def write_run(
    results: Path,
    created: int,
    done: tuple[str, ...] = (),
    label: str = "basic_model_3_epochs",
    metrics: dict | None = None,
    **given,
) -> Run:
    """Write a run directory by hand, of the preset smoke with parameters given."""
    path = results / f"{label}_timestamp_{created}"
    path.mkdir(parents=True)
    document = {
        "name": path.name,
        "created": created,
        "parameters": checking.resolve("smoke", given),
        "stages": {stage: {"status": "done", "seconds": 1.0, "outputs": {}} for stage in done},
    }
    write_json(path / "run.json", document)
    write_json(path / "metrics.json", metrics or {})
    return Run(path)


def two_thousand_runs(results: Path) -> None:
    """Make runs of the size of real ones: the committed run has fifty checkpoints and a hundred metrics."""
    reference = paths.ROOT / "results" / "reference"
    for created in range(1_000_000, 1_002_000):
        run = results / f"a_timestamp_{created}"
        run.mkdir(parents=True)
        for name in ("run.json", "metrics.json"):
            shutil.copy(reference / name, run)
