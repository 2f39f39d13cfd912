"""Fixtures of runs: an empty results folder, a few faces, a run that is trained and whose model is chosen."""

from pathlib import Path

import pytest
from staged import choose, train

from fer_tools.run.run import Run


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the results folder of this test, which does not exist yet."""
    folder = tmp_path / "results"
    monkeypatch.setenv("FER_RESULTS", str(folder))
    return folder


@pytest.fixture(scope="session")
def faces(make_face_folder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder of a few faces; do not write into it."""
    return make_face_folder(tmp_path_factory.mktemp("faces") / "set")


@pytest.fixture
def run(faces: Path, results: Path) -> Run:
    """Give a run that is trained and whose model is chosen, as somebody has it who opens it."""
    return Run(choose(train(faces)).path)
