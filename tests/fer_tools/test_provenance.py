"""What a stage depends on in this very checkout: which modules count for which notebook."""

import shutil
from pathlib import Path

import pytest

from fer_tools import paths, stages
from fer_tools.run import provenance


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """Give a copy of the code and the notebooks, whose digests count instead of the real ones'."""
    for folder in ("fer_lib", "fer_tools", "notebooks"):
        shutil.copytree(paths.ROOT / folder, tmp_path / "checkout" / folder)
    monkeypatch.setattr(paths, "ROOT", tmp_path / "checkout")
    return tmp_path / "checkout"


def digests() -> dict[str, str]:
    """The digest of each stage's code, where the network is basic_model."""
    return {stage: provenance.code_digest(stage, "basic_model") for stage in stages.STAGES}


@pytest.mark.parametrize(
    ("module", "stale", "fresh"),
    [
        ("fer_lib/__init__.py", "exploration training overfitting evaluation optimisation", ""),
        ("fer_tools/report/build.py", "", "exploration training overfitting evaluation"),
        ("fer_tools/commands/__init__.py", "", "exploration training overfitting evaluation"),
        ("fer_tools/pipeline.py", "", "exploration training overfitting evaluation"),
        ("fer_tools/fetch.py", "", "exploration training overfitting evaluation"),
        ("fer_tools/run/edges.py", "", "exploration training overfitting evaluation optimisation"),
        ("fer_lib/figures/data.py", "exploration", "training overfitting evaluation optimisation"),
        ("fer_lib/figures/training.py", "overfitting", "exploration training evaluation optimisation"),
        ("fer_lib/figures/evaluation.py", "evaluation", "exploration training overfitting optimisation"),
        ("fer_lib/figures/style.py", "exploration overfitting evaluation optimisation", "training"),
        ("fer_tools/study/effects.py", "optimisation", "exploration training overfitting evaluation"),
        ("fer_tools/study/figures.py", "optimisation", "exploration training overfitting evaluation"),
        ("fer_tools/game/recognised.py", "game", "exploration training overfitting evaluation optimisation"),
        ("fer_tools/play/trace.py", "game", "exploration training overfitting evaluation optimisation"),
        ("fer_tools/face_finder/find.py", "", "exploration training overfitting evaluation game"),
        ("fer_lib/training.py", "training evaluation", "exploration overfitting"),
        ("fer_lib/models/basic_model.py", "exploration training evaluation", "overfitting"),
        ("fer_lib/models/__init__.py", "exploration training evaluation", "overfitting"),
        ("fer_lib/augmentation.py", "exploration training overfitting", "optimisation"),
        ("fer_lib/data/load.py", "exploration training overfitting evaluation", "optimisation"),
        ("fer_lib/data/split.py", "exploration training overfitting evaluation", "optimisation"),
        ("fer_lib/data/readers/source.py", "exploration training overfitting evaluation", "optimisation"),
        ("fer_lib/data/readers/folder.py", "exploration training overfitting evaluation", "optimisation"),
        ("fer_tools/published/verdict.py", "exploration evaluation", "training overfitting"),
        ("fer_lib/overfitting.py", "overfitting", "training"),
        ("fer_lib/evaluation.py", "overfitting evaluation", "training"),
        ("fer_tools/assignment.py", "evaluation", "exploration training overfitting optimisation"),
    ],
)
def test_a_changed_module_makes_those_stages_stale_that_reach_it(checkout, module, stale, fresh):
    before = digests()
    with open(checkout / module, "a") as handle:
        handle.write("\n_CHANGED = True\n")
    changed = {stage for stage, digest in digests().items() if before[stage] != digest}
    assert set(stale.split()) <= changed and not changed & set(fresh.split())


def test_another_network_makes_nothing_stale(checkout):
    before = digests()
    source = (checkout / "fer_lib" / "models" / "basic_model.py").read_text()
    (checkout / "fer_lib" / "models" / "other_model.py").write_text(
        source.replace("32, 64, 128", "8, 16, 32")
    )
    assert before == digests()
    assert provenance.code_digest("training", "other_model") != before["training"]
