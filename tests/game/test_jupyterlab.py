"""The page in a cell of JupyterLab, with the camera."""

import os
from pathlib import Path

import nbformat
import pytest
from camera import film, looks
from lab import SECONDS, jupyterlab, open_notebook, run_all_cells

CELL = "from fer_tools.play.server import in_notebook\nin_notebook()"


@pytest.fixture
def lab(tmp_path: Path):
    """Give the address of a JupyterLab with one notebook, game.ipynb."""
    cell = nbformat.v4.new_code_cell(CELL)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    (tmp_path / "work").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), tmp_path / "work" / "game.ipynb")
    with jupyterlab(tmp_path / "work", tmp_path) as address:
        yield address


@pytest.mark.slow
def test_the_game_is_played_by_face_in_a_cell(chromium, playwright, lab, tmp_path):
    camera = film(tmp_path / "looks.mjpeg", looks([1, 2], 3))
    args = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    args += [f"--use-file-for-fake-video-capture={camera}"] + ["--no-sandbox"] * (os.geteuid() == 0)
    browser = playwright.chromium.launch(executable_path=chromium, args=args)
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    open_notebook(page, lab, "game.ipynb", {"name": "python3"})
    run_all_cells(page)
    cell = page.frame_locator(".jp-OutputArea iframe")
    cell.locator("html[data-ready]").wait_for(state="attached", timeout=SECONDS)
    cell.locator("#camera").click()
    cell.locator("#say:has-text('Now choose a column')").wait_for(timeout=SECONDS)
    assert "camera" not in cell.locator("#hint").inner_text()
    browser.close()
