"""A JupyterLab of the tests, with settings of nobody."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fer_tools import paths


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
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", "--IdentityProvider.token=", "--ServerApp.password="]
    command += [f"--ServerApp.root_dir={folder}", "--LabApp.news_url=None"]
    command += ["--allow-root"] * (os.geteuid() == 0)
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    own = {name: str(home / name) for name in names} | {"PYTHONPATH": str(paths.ROOT)}
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
