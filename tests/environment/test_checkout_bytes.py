"""A clone has the bytes that were committed, whatever git is set to do with ends of lines and notebooks."""

import os
import subprocess
from pathlib import Path

import pytest

from fer_tools import paths

SETTINGS = {  # as on Windows and in WSL; and nbstripout installed for all of a user's repositories
    "core.autocrlf": "true",
    "core.eol": "crlf",
    "core.attributesFile": "{home}/attributes",
    "filter.strip.clean": "tr a-z A-Z",
    "filter.strip.smudge": "cat",
}


def git(folder: Path, *arguments: str, given: str = "") -> str:
    """Return what git prints, without settings of this machine or of a hook that these tests run in."""
    known = {"PATH": os.environ["PATH"], "HOME": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-C", str(folder), *arguments]
    options = {"env": known, "input": given, "capture_output": True, "text": True, "check": True}
    return subprocess.run(command, **options).stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a clone of what is committed here, by a git with other settings."""
    if not (paths.ROOT / ".git").exists():
        pytest.skip("this is no clone itself")
    home = tmp_path_factory.mktemp("clones")
    (home / "attributes").write_text("*.ipynb filter=strip\n*.csv text eol=crlf\n")
    settings = [f"--config={name}={value.format(home=home)}" for name, value in SETTINGS.items()]
    git(home, "-c", "safe.directory=*", "clone", "--quiet", *settings, str(paths.ROOT), str(home / "clone"))
    return home / "clone"


def test_a_clone_has_the_bytes_that_were_committed(clone):
    listed = [line.split("\t") for line in git(clone, "ls-tree", "-r", "-z", "HEAD").split("\0")[:-1]]
    committed = {name: about.split()[2] for about, name in listed}
    digests = git(clone, "hash-object", "--no-filters", "--stdin-paths", given="\n".join(committed)).split()
    there = dict(zip(committed, digests, strict=True))
    assert len(there) > 200 and there == committed


def test_nothing_in_it_counts_as_changed(clone):
    for path in clone.glob("*/*"):
        os.utime(path)  # git looks at it again
    assert git(clone, "status", "--porcelain") == ""


def test_an_environment_behind_a_link_is_no_part_of_it(clone, tmp_path):
    (clone / ".venv").symlink_to(tmp_path)
    assert git(clone, "status", "--porcelain") == ""
