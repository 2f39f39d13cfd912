"""Is a run what its stages recorded? One edge for each step of the way from its files back to its data."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from fer_lib.files import UsageError
from fer_tools import metrics, paths
from fer_tools.parameters import Data
from fer_tools.run import machine, provenance
from fer_tools.run.run import MODEL, Run
from fer_tools.stages import NOTEBOOKS, STAGES


@dataclass(frozen=True)
class Edge:
    """A step of the way from the report back to the data: `target` was made from `source`.

    Attributes
    ----------
    target, source : str
        A file of the run, a notebook, or what a notebook depends on.
    state : str
        "ok"; "at work", where a process is filling the run; "stale", where it would come out otherwise now;
        "altered", where it is not what was made; "missing", where it was made and is no longer there; "left
        out", where an excerpt says so; "absent", where it was never made; "unknown", where only a checkout
        could tell; "elsewhere", where it was made on another machine: here it would come out a little
        otherwise.
    reason : str
        What is wrong, in one line.
    """

    target: str
    source: str
    state: str = "ok"
    reason: str = ""

    @classmethod
    def judge(cls, ok: object, target: str, source: str, state: str, reason: str) -> "Edge":
        """Make an edge that is ok, or else has the state and the reason."""
        return cls(target, source) if ok else cls(target, source, state, reason)

    @classmethod
    def of_file(
        cls, now: str | None, then: str, target: str, source: str, made: str, missing: str = "missing"
    ) -> "Edge":
        """Make an edge to a file from its digest `now`, None where it is missing, and `then`, when made."""
        if now is None:
            return cls(target, source, missing, f"{target} is {missing} ({source} made it)")
        return cls.judge(now == then, target, source, "altered", f"{target} is not what {made}")


def stale_reason(run: Run, stage: str, anywhere: bool = True) -> str | None:
    """Return why a stage has to be executed, or None where its outputs are those of its inputs.

    Parameters
    ----------
    anywhere : bool
        Whether outputs of another machine will do, which are not the same to the last digit.
    """
    fine = ("ok", "elsewhere") if anywhere else ("ok",)
    return next((edge.reason for edge in stage_edges(run, stage) if edge.state not in fine), None)


def stage_edges(run: Run, stage: str) -> Iterator[Edge]:
    """Compare a stage's inputs, outputs and executed notebook with what it recorded of them."""
    notebook, entry = STAGES[stage].notebook, run.document["stages"].get(stage)
    if not entry or entry["status"] != "done":
        yield Edge(notebook, "its execution", "stale", "not finished")
        return
    yield from _inputs(run, stage, entry.get("inputs", {}))
    here = machine.describe(run.document.get("threads"))
    other = machine.differences(entry.get("machine"), here)
    yield Edge.judge(not other, notebook, "machine", "elsewhere", f"made on another machine ({other})")
    missing = "left out" if run.excerpt else "missing"
    for key, digest in entry["outputs"].items():
        if key == "metrics.json":
            current = run.metrics_digest(stage) if run.digest(key) else None
            key += f" ({', '.join(f'{prefix}*' for prefix in STAGES[stage].prefixes)})"
        else:
            current = run.digest(key)
        yield Edge.of_file(current, digest, key, notebook, f"{notebook} wrote", missing)
    yield from _metrics(run, stage)
    if "notebook" in entry:
        key, digest = provenance.executed_notebook(stage), entry["notebook"]
        if digest is None:
            yield Edge(key, notebook, "stale", "killed before the executed notebook was kept")
        else:
            yield Edge.of_file(run.digest(key), digest, key, notebook, "was executed", missing)


def _metrics(run: Run, stage: str) -> Iterator[Edge]:
    found = run.metrics
    for key, reason in metrics.wrong_of_stage(stage, found) if found else ():
        yield Edge(f"metrics.json ({key})", STAGES[stage].notebook, "altered", reason)


def _inputs(run: Run, stage: str, then: dict[str, Any]) -> Iterator[Edge]:
    notebook = STAGES[stage].notebook
    if not paths.in_checkout():
        yield Edge(notebook, "inputs", "unknown", "only a checkout has code and data to compare with")
        return
    try:
        now = provenance.inputs(run, stage)
    except UsageError as error:  # the data are gone, for example
        yield Edge(notebook, "inputs", "stale", str(error))
        return
    for name, value in now.items():
        before = then.get(name)
        yield Edge.judge(before == value, notebook, name, "stale", _changed(name, before, value))


def _changed(name: str, then: Any, now: Any) -> str:
    if name == "environment":
        then = then or {}
        differing = [key for key in now if then.get(key) != now[key]]
        facts = ", ".join(f"{key} {then.get(key, 'unknown')}, now {now[key]}" for key in differing)
        return f"its environment has changed ({facts})"
    if name in NOTEBOOKS:
        return f"{name} has new results"
    return f"its {name} {'has' if name == 'code' else 'have'} changed"


def strays(run: Run) -> Iterator[Edge]:
    """Compare the run as a whole with what its stages recorded: nothing else may be in it."""
    document = run.document
    stages = {name: entry for name, entry in document["stages"].items() if name in STAGES}
    outputs = {key: value for entry in stages.values() for key, value in entry.get("outputs", {}).items()}
    yield from _foreign_files(run, stages, outputs)
    yield from _foreign_metrics(run)
    yield from _chosen_model(outputs)
    yield from _data_of_stages(document, stages)
    yield from _places(document, stages)
    yield from _names(run, document, outputs)


def _foreign_files(run: Run, stages: dict[str, Any], outputs: dict[str, str]) -> Iterator[Edge]:
    if any(entry["status"] != "done" for entry in stages.values()):
        return  # which files are those of a stage that is not finished, only its end will say
    executed = {provenance.executed_notebook(name) for name, entry in stages.items() if "notebook" in entry}
    for key in run.files():
        if key not in outputs and key not in executed:
            yield Edge(key, "no notebook", "altered", f"{key} was not written by any notebook of this run")


def _foreign_metrics(run: Run) -> Iterator[Edge]:
    own = tuple(prefix for stage in STAGES.values() for prefix in stage.prefixes)
    for key in run.metrics:
        if not key.startswith(own):
            yield Edge(f"metrics.json ({key})", "no notebook", "altered", f"metric {key} is no notebook's")


def _chosen_model(outputs: dict[str, str]) -> Iterator[Edge]:
    if chosen := outputs.get(MODEL):
        checkpoints = (key for key in outputs if key.startswith("checkpoints/") and outputs[key] == chosen)
        source = next(checkpoints, None)
        reason = f"{MODEL} is none of the checkpoints"
        yield Edge.judge(source, MODEL, source or "checkpoints", "altered", reason)


def _data_of_stages(document: dict[str, Any], stages: dict[str, Any]) -> Iterator[Edge]:
    """Compare the data of the stages that draw from them: all have to draw the same."""
    drawing = [name for name in stages if issubclass(STAGES[name].parameters, Data)]
    shared = sorted(f.name for f in fields(Data) if f.name != "run")  # which is not kept
    given = [document["parameters"].get(name, {}) for name in drawing]
    for name, values in list(zip(drawing, given, strict=True))[:-1]:
        other = [key for key in shared if values.get(key) != given[-1].get(key)]
        ours, theirs = STAGES[name].notebook, STAGES[drawing[-1]].notebook
        reason = f"{ours} has other data than {theirs} ({', '.join(other)}); the report would mix them"
        yield Edge.judge(not other, ours, f"data of {theirs}", "altered", reason)


def _places(document: dict[str, Any], stages: dict[str, Any]) -> Iterator[Edge]:
    recorded = {
        "versions": [entry["inputs"].get("environment") for entry in stages.values() if "inputs" in entry],
        "git": [entry["git"] for entry in stages.values() if "git" in entry],
        "machine": [entry["machine"] for entry in stages.values() if "machine" in entry],
    }
    for key, values in recorded.items():
        if values and document.get(key) not in values:
            reason = f"run.json: `{key}` matches none of its notebooks' records"
            yield Edge(f"run.json ({key})", "environment", "altered", reason)


def _names(run: Run, document: dict[str, Any], outputs: dict[str, str]) -> Iterator[Edge]:
    if run.excerpt:  # under a name of its own, on purpose
        return
    named = {"name": run.name}
    if MODEL in outputs:
        named["model_file"] = f"results/{run.model_path.name}"
    for key, value in named.items():
        said = document.get(key)
        reason = f"run.json: {key} is {said!r}, not {value!r}"
        yield Edge.judge(said == value, f"run.json ({key})", "name of the folder", "altered", reason)
