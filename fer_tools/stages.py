"""The one table of stages: the notebooks in their order, what each reads and writes, what makes it optional.

A new stage is a notebook, a class of parameters, a row of this table, and a section of the report.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_tools import parameters, paths
from fer_tools.overfit import committed
from fer_tools.transfer import sources


@dataclass(frozen=True)
class Stage:
    """A notebook as a step of the run.

    Attributes
    ----------
    notebook : str
        Name of the file in `notebooks/`, without its suffix.
    parameters : type
        Class of `fer_tools.parameters`.
    prefixes : tuple of str
        Of the metrics that it records.
    reads : tuple of str
        Stages whose outputs it reads.
    reads_data : bool
        Whether it opens the faces.
    optional_by : str
        Parameter without which a run has no such stage; empty: every run has it.
    resumes : bool
        Whether an interrupted execution goes on from checkpoints.
    files : callable, optional
        Returns the files outside the run that the stage reads, by name, from its parameters.
    digest : callable, optional
        Returns the digest of data that are no faces, from its parameters.
    remarks : callable, optional
        Says, from its parameters, what is left out of these or in doubt; refuses them where they cannot work.
    alone : bool
        Whether it makes up runs by itself, of which it is the only stage.
    report : str
        Name of the text in `report/` that quotes runs with it.
    """

    notebook: str
    parameters: type
    prefixes: tuple[str, ...]
    reads: tuple[str, ...] = ()
    reads_data: bool = True
    optional_by: str = ""
    resumes: bool = False
    files: Callable[[Any], dict[str, Path]] | None = None
    digest: Callable[[Any], str] | None = None
    remarks: Callable[[Any], Iterable[str]] | None = None
    alone: bool = False
    report: str = "report"

    @property
    def path(self) -> Path:
        """The notebook's path."""
        return paths.ROOT / "notebooks" / f"{self.notebook}.ipynb"


def _topics() -> Any:
    from fer_tools.transfer import topics  # slow: it reads pictures

    return topics


def _teachers() -> Any:
    from fer_tools import teachers  # slow: numpy

    return teachers


STAGES = {
    "exploration": Stage("01_exploration", parameters.Exploration, ("data.",)),
    "training": Stage(
        "02_training",
        parameters.Training,
        ("model.", "training."),
        resumes=True,
        files=lambda chosen: _teachers().files(chosen.teacher),
    ),
    "overfitting": Stage(
        "03_overfitting",
        parameters.Overfitting,
        ("overfitting.",),
        ("training",),
        reads_data=False,
        files=lambda _: {"example": committed.checked()},
    ),
    "evaluation": Stage("04_evaluation", parameters.Evaluation, ("test.",), ("training", "overfitting")),
    "optimisation": Stage(
        "05_optimisation",
        parameters.Optimisation,
        ("study.",),
        reads_data=False,
        optional_by="study",
        files=lambda chosen: {"study": paths.study_table(chosen.study)},
    ),
    "game": Stage(
        "06_game",
        parameters.Game,
        ("game.",),
        ("overfitting", "evaluation"),
        reads_data=False,
        optional_by="trace",
        files=lambda chosen: {"trace": paths.trace_file(chosen.trace)},
    ),
    "transfer": Stage(
        "07_transfer",
        parameters.Transfer,
        ("transfer.",),
        reads_data=False,
        optional_by="source",
        resumes=True,
        files=lambda chosen: {"source": sources.path(chosen.source)},
        digest=lambda chosen: _topics().digest(chosen.data),
        remarks=lambda chosen: _topics().read(chosen).remarks,
        alone=True,
        report="section8",
    ),
}
REQUIRED = tuple(name for name, stage in STAGES.items() if not stage.optional_by)


def consisting(given: Mapping[str, Any]) -> list[str]:
    """Return the stages of a run, in order, of which some optional ones are given."""
    alone = [name for name in given if name in STAGES and STAGES[name].alone]
    return alone or [name for name, stage in STAGES.items() if not stage.optional_by or name in given]


NOTEBOOKS = {stage.notebook for stage in STAGES.values()}
