"""Make, renew or remove the environment in which the Makefile runs this checkout.

The Python that the environment is to have runs this file, `python -I fer_tools/virtual_environment.py setup`,
before any package is there: it imports nothing but the standard library. The variable VENV says where the
environment is; PYTHON, unless it is empty, that this Python was asked for.
"""

import ast
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
STAMP = Path("bin", ".ready")  # what the environment was made for
CACHES = ("build", "*.egg-info", ".pytest_cache", ".ruff_cache", ".hypothesis")
# Settings that lead Python, pip or uv to other places: packages would land there, or come from there.
LEADING = re.compile("PYTHON|PIP_|UV_|VIRTUAL_ENV|CONDA_")
# Of pip's and uv's, those are kept that say where packages are downloaded, and how.
SOURCES = re.compile(
    "index|find.links|host|cert|tls|proxy|timeout|retries|keyring|offline|cache|feature", re.IGNORECASE
)
BUILD = """
import sys
sys.path.insert(0, sys.argv[1])
from setuptools import build_meta
build_meta.build_editable(sys.argv[2])
"""
IMPORTED = "import sys, fer_tools; sys.exit([*fer_tools.__path__] != sys.argv[1:])"
OTHERWISE = "name another folder, VENV=..., or remove that one yourself"
Environment = dict[str, str]


class Refused(Exception):
    """What cannot be done, in one line that says what to do instead."""


def run(command: Sequence[str | Path], environment: Environment) -> subprocess.CompletedProcess:
    """Run a command in the checkout; return its exit code, 127 where it does not start, and what it said."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8", "errors": "replace"}
    try:
        return subprocess.run(list(map(str, command)), cwd=ROOT, env=environment, check=False, **pipes)
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, f"{command[0]}: {error.strerror}")


def plain_environment() -> Environment:
    """Return the environment without settings that lead elsewhere."""
    return {name: value for name, value in os.environ.items() if not LEADING.match(name)}


def with_sources(pip: Sequence[str | Path]) -> Environment:
    """Return the plain environment with what the user's settings of pip and uv say of sources of packages."""
    named = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_"))}
    listed = run([*pip, "config", "list"], plain_environment() | named).stdout
    settings = re.findall(r"^(global|install|:env:)\.([a-z-]+)=(['\"].*)$", listed, re.MULTILINE)
    kept = {name: value for name, value in named.items() if name.startswith("UV_") and SOURCES.search(name)}
    for section in ("global", "install", ":env:"):  # a later one counts more
        for where, name, value in settings:
            if where == section and SOURCES.search(name):
                kept["PIP_" + name.upper().replace("-", "_")] = ast.literal_eval(value)
    return plain_environment() | kept | {"PIP_CONFIG_FILE": os.devnull}


def recorded(venv: Path) -> dict[str, str] | None:
    """Return what an environment was made for; None for what is none, or was not made here."""
    ours = all((venv / name).is_file() for name in ("pyvenv.cfg", STAMP))
    if not ours or ROOT.is_relative_to(venv.resolve()):
        return None
    try:
        found = json.loads((venv / STAMP).read_text("utf-8"))
    except ValueError:  # an earlier Makefile's is empty
        return {}
    return found if isinstance(found, dict) and set(found) == set(wanted(venv)) else {}


def record(venv: Path, stamp: dict[str, str]) -> None:
    """Write down what an environment was made for, wholly or not at all."""
    draft = venv / f"{STAMP}.part"
    draft.write_text(json.dumps(stamp, indent=1) + "\n", "utf-8")
    draft.replace(venv / STAMP)


def wanted(venv: Path) -> dict[str, str]:
    """Return what an environment made now would be for."""
    packages = hashlib.sha256(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    python = f"{sys.version_info.major}.{sys.version_info.minor} of {sys.base_prefix}"
    return {"place": str(venv.resolve()), "checkout": str(ROOT), "python": python, "packages": packages}


def why_anew(venv: Path, found: dict[str, str], want: dict[str, str], python_is_named: bool) -> str | None:
    """Return why an environment that was made here cannot be used or renewed as it is; None if it can."""
    if found.get("place") != want["place"]:
        return f"was made for {found.get('place', 'another place')}"
    if (checkout := found.get("checkout")) != str(ROOT):
        if Path(str(checkout), "Makefile").is_file():
            raise Refused(
                f"{venv} is the environment of {checkout}; name another folder for this one: VENV=..."
            )
        return f"was made for {checkout}, which is gone"
    if python_is_named and found["python"] != want["python"]:
        return f"has Python {found['python']}, not {want['python']}"
    code = "import sys; print(*sys.version_info[:2], sep='.')"
    started = run([venv.absolute() / "bin" / "python", "-I", "-c", code], plain_environment())
    if started.returncode or started.stdout.split() != found["python"].split()[:1]:
        return f"does not start as the Python {found['python']} that it was made with"
    return None


def remove(path: Path) -> None:
    """Remove a file, a folder with all that is in it, or a link but not what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def outer_python() -> str:
    """Return this Python or, if it is of an environment, perhaps the one at hand, the one behind it."""
    return sys.executable if sys.prefix == sys.base_prefix else os.path.realpath(sys.executable)


def create(venv: Path, stamp: dict[str, str]) -> None:
    """Make an environment without packages, in the place of what is there."""
    for path in venv.iterdir() if venv.is_dir() else ():
        remove(path)
    (venv / "bin").mkdir(parents=True, exist_ok=True)
    (venv / "pyvenv.cfg").touch()
    record(venv, stamp)  # what is interrupted from here on is known as ours
    done = run([outer_python(), "-I", "-m", "venv", venv.absolute()], plain_environment())
    if done.returncode:
        raise Refused(f"{venv}: no environment can be made: {' '.join(done.stdout.split())}")
    (venv / ".gitignore").write_text("*\n")  # by any name, it is no part of the checkout


def install(venv: Path) -> None:
    """Install the locked packages, and this checkout so that changes of its code count at once."""
    python = venv.absolute() / "bin" / "python"
    packages = next(venv.absolute().glob("lib/python3*/site-packages"))
    pip = [python, "-I", "-m", "pip", "--disable-pip-version-check"]
    by_pip = [*pip, "install", "--quiet"]
    by_uv = [python.with_name("uv"), "pip", "install", "--quiet", "--python", python]
    sources = with_sources(pip)
    with tempfile.TemporaryDirectory() as folder:
        entries = re.split(r"^(?=[a-z])", LOCK.read_text("utf-8"), flags=re.MULTILINE)
        lock_of_uv = Path(folder, "uv.lock")
        lock_of_uv.write_text("".join(entry for entry in entries if entry.startswith("uv==")), "utf-8")
        run([*by_pip, "--require-hashes", "-r", lock_of_uv], sources)
        # uv takes a tenth of pip's time; where it cannot, or put packages elsewhere, pip does it.
        for by in (by_uv, by_pip):
            steps = [
                ([*by, "--require-hashes", "-r", LOCK], sources),
                # setuptools takes `$x` and `{x}` in the path of its Python for variables of its own, so it
                # runs in the Python outside; and it would read a file of settings in the home.
                ([outer_python(), "-I", "-c", BUILD, packages, folder], {"HOME": folder, "TMPDIR": folder}),
                (
                    [*by, "--no-deps", "--no-index", "--find-links", folder, "--force-reinstall", "fer_lab"],
                    sources,
                ),
                ([python, "-I", "-c", IMPORTED, ROOT / "fer_tools"], sources),
                ([*pip, "check"], sources),
            ]
            failed = next((done for step in steps if (done := run(*step)).returncode), None)
            if failed is None:
                return quote_in_scripts(python)
    print(failed.stdout.rstrip(), file=sys.stderr)
    raise Refused(
        f"{venv}: not all of requirements.lock can be installed; why stands above. The same command goes on"
    )


def quote_in_scripts(python: Path) -> None:
    """Quote the path of Python in scripts: of those that pip writes, a shell would expand what is in it."""
    found = re.compile(rb"(#!/bin/sh\n'''exec' )\"?" + re.escape(os.fsencode(python)) + rb"\"? ")
    quoted = os.fsencode(shlex.quote(str(python)))
    for script in python.parent.iterdir():
        text = script.read_bytes()
        if found.match(text):
            script.write_bytes(found.sub(lambda start: start[1] + quoted + b" ", text, count=1))


def set_up(venv: Path, python_is_named: bool) -> None:
    """Make an environment, or renew one, where that is necessary."""
    found, want = recorded(venv), wanted(venv)
    if found is None and os.path.lexists(venv) and (not venv.is_dir() or any(venv.iterdir())):
        raise Refused(f"{venv} is there, and is no environment that make has made; {OTHERWISE}")
    why = "is not there yet" if found is None else why_anew(venv, found, want, python_is_named)
    if found is None or why:
        print(
            f"{venv} {why}: it is made with Python {want['python']} (once; downloads about 1 GB) ...",
            flush=True,
        )
        create(venv, found := want | {"packages": "not yet"})
    elif found["packages"] != want["packages"]:
        print(f"{venv}: what requirements.lock names is installed ...", flush=True)
        record(venv, found | {"packages": "not yet"})
    else:
        return
    install(venv)
    record(venv, found | {"packages": want["packages"]})


def clean(venv: Path) -> None:
    """Remove an environment that was made here, and caches of the checkout; runs stay."""
    if recorded(venv) is not None:
        remove(venv)
    elif os.path.lexists(venv):
        raise Refused(f"{venv} is no environment that make has made, and nothing was removed; {OTHERWISE}")
    for path in [path for pattern in CACHES for path in ROOT.glob(pattern)]:
        remove(path)


def main(task: str) -> int:
    """Do what make asks for: `setup` or `clean`; 0 is success, 2 what cannot be done."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # paths may have letters that a terminal has not
    os.chdir(ROOT)
    venv = Path(os.environ["VENV"])
    try:
        clean(venv) if task == "clean" else set_up(venv, bool(os.environ.get("PYTHON")))
    except (Refused, OSError) as error:
        print(f"make: {' '.join(str(error).splitlines())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("make: interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
