"""A JupyterLab of the tests, with settings of nobody."""

import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fer_tools import paths

SECONDS = 300_000  # milliseconds that anything may take, on a machine that does other things as well


def _options() -> list[str]:
    """Return the options with which `make lab` starts it."""
    text = (paths.ROOT / "Makefile").read_text("utf-8").replace("\\\n", "")
    (line,) = re.findall(r"\$\(RUN\) jupyterlab (.+) notebooks$", text, re.MULTILINE)
    return shlex.split(line)


def open_notebook(page: Any, address: str, name: str, kernel: dict[str, str]) -> dict[str, str]:
    """Open a notebook, and return when it can be run.

    Parameters
    ----------
    page : playwright.sync_api.Page
    address : str
        Of `jupyterlab`.
    name : str
    kernel : dict
        `name` of a new kernel, or `id` of one that runs.

    Returns
    -------
    dict
        `id` of the kernel.
    """
    session = {"path": name, "name": name, "type": "notebook", "kernel": kernel}
    found = page.request.post(f"{address}/api/sessions", data=session).json()
    with page.expect_websocket(lambda made: "/channels" in made.url, timeout=SECONDS):
        page.goto(f"{address}/lab/tree/{name}?reset")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=SECONDS)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=SECONDS)
    return {"id": found["kernel"]["id"]}


def run_all_cells(page: Any) -> None:
    """Choose it from the menu: a key would go wherever the focus happens to be."""
    page.locator(".lm-MenuBar-itemLabel:text-is('Run')").click()
    page.locator(".lm-Menu-itemLabel:text-is('Run All Cells')").click()


@contextmanager
def jupyterlab(folder: Path, home: Path, **variables: str) -> Iterator[str]:
    """Give the address of a JupyterLab of a folder.

    Parameters
    ----------
    folder : Path
        What it shows.
    home : Path
        Where its settings and its log are.
    **variables : str
        Of its environment, and of the kernels'.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", *_options(), "--no-browser"]
    command += [f"--ServerApp.port={port}", "--IdentityProvider.token=", "--ServerApp.password="]
    command += [f"--ServerApp.root_dir={folder}", "--ServerApp.disable_check_xsrf=True"]
    command += ["--allow-root"] * (os.geteuid() == 0)
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR", "IPYTHONDIR")
    own = {name: str(home / name) for name in names} | {"PYTHONPATH": str(paths.ROOT)}
    news = home / "JUPYTERLAB_SETTINGS_DIR/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false"}')  # else it asks whether it may
    with open(home / "lab.log", "w") as log:
        process = subprocess.Popen(command, env=os.environ | own | variables, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=5)
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(30)
