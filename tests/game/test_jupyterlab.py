"""The page in a cell of JupyterLab, with the camera."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from camera import film, looks

from fer_tools import paths

CELL = "from fer_tools.play.server import in_notebook\nin_notebook()"


@pytest.fixture
def lab(tmp_path: Path):
    """Give the address of a JupyterLab with one notebook."""
    cell = nbformat.v4.new_code_cell(CELL)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    (tmp_path / "work").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), tmp_path / "work" / "game.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", "--IdentityProvider.token=", "--ServerApp.password="]
    command += [f"--ServerApp.root_dir={tmp_path / 'work'}", "--LabApp.news_url=None"]
    command += ["--allow-root"] * (os.geteuid() == 0)
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    environment = (
        os.environ | {name: str(tmp_path / name) for name in names} | {"PYTHONPATH": str(paths.ROOT)}
    )
    with open(tmp_path / "lab.log", "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5)
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/lab/tree/game.ipynb?reset"
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
def test_the_game_is_played_by_face_in_a_cell(chromium, playwright, lab, tmp_path):
    camera = film(tmp_path / "looks.mjpeg", looks([1, 2], 3))
    args = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    args += [f"--use-file-for-fake-video-capture={camera}"] + ["--no-sandbox"] * (os.geteuid() == 0)
    browser = playwright.chromium.launch(executable_path=chromium, args=args)
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(lab)
    page.locator(".jp-Notebook .cm-content").first.click(timeout=60_000)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=60_000)
    page.keyboard.press("Shift+Enter")
    cell = page.frame_locator(".jp-OutputArea iframe")
    cell.locator("html[data-ready]").wait_for(state="attached", timeout=60_000)
    cell.locator("#camera").click()
    cell.locator("#say:has-text('Now choose a column')").wait_for(timeout=30_000)
    assert "camera" not in cell.locator("#hint").inner_text()
    browser.close()
