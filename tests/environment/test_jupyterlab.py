"""The notebooks in JupyterLab, as a student uses them: run all cells, move what moves, read what is said.

They share a kernel, whose start costs more than most of them; that each runs in one of its own, nbval says.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import networks
import pytest
from lab import SECONDS, jupyterlab, open_notebook, run_all_cells
from made import make_dishes
from PIL import Image
from processes import one_core

from fer_lib.data.picture import MAX_BYTES
from fer_lib.files import sha256_of_file
from fer_tools import checking, paths
from fer_tools.json_files import read_json
from fer_tools.stages import STAGES

pytestmark = pytest.mark.slow

CURVES = """() => {
  globalThis.seen = new Map();
  new MutationObserver(() => {
    for (const image of document.querySelectorAll(".jp-OutputArea-output img")) {
      const cell = image.closest(".jp-CodeCell");
      if (!seen.has(cell)) seen.set(cell, new Set());
      seen.get(cell).add(image.src);
    }
  }).observe(document.body, { subtree: true, childList: true, attributes: true, attributeFilter: ["src"] });
}"""
# The last cell waits, a star, until all before it are done or one has failed.
WAITS = """(waits) => waits ==
  [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")].at(-1).textContent.includes("*")"""
# How long JupyterLab itself takes to start says what else the machine does, and nothing of the notebooks.
OF_THE_MACHINE = re.compile(
    r"Plugin \S+ (is taking too long|\(with \d+ dependants\) took [\d.]+ms) to activate\."
)
PIXELS = """async (image) => {
  const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
  return bytes.reduce((sum, value, i) => (sum * 31 + value + i) % 4294967291, bytes.length);
}"""


def small(folder: Path, topic: Path) -> None:
    """Write the notebooks without outputs, as the preset smoke has them, and 07 smaller still."""
    source = networks.held(folder.with_name("small.keras"), networks.chain(*networks.SMALL))
    values = checking.resolve("smoke", {"study": "example", "trace": paths.EXAMPLE})
    values |= checking.resolve(
        "smoke", {"source": str(source), "data": str(topic), "repeats": 1, "epochs": 1}
    )
    for stage, kind in STAGES.items():
        notebook = read_json(kind.path)
        for cell in (cell for cell in notebook["cells"] if cell["cell_type"] == "code"):
            cell |= {"outputs": [], "execution_count": None}
            if "parameters" in cell["metadata"].get("tags", []):
                chosen = checking.plain(checking.build(stage, values[stage]))
                cell["source"] += [f"\n{name} = {value!r}" for name, value in chosen.items()]
        (folder / kind.path.name).write_text(json.dumps(notebook), encoding="utf-8")


def written(folder: Path) -> dict[Path, str]:
    return {path: sha256_of_file(path) for path in folder.rglob("*") if path.is_file()}


class Widget:
    """Controls in the notebook that is open, the sentence below them, and the picture below that."""

    def __init__(self, page: Any, place: int) -> None:
        self.page, self.all = page, page.locator(".jp-OutputArea-output .widget-vbox").nth(place)

    def says(self, text: str | re.Pattern[str]) -> None:
        """Wait until the sentence is, or has, a text."""
        from playwright.sync_api import expect

        expect(self.all.locator(".widget-html")).to_have_text(text, timeout=SECONDS)

    def picture(self) -> int:
        """Return a number that another picture would hardly have."""
        return self.all.locator("img").evaluate(PIXELS)

    def choose(self, name: str, value: str) -> None:
        """Choose by the name beside a list, and by the value on it."""
        self.all.locator(".widget-dropdown", has_text=name).locator("select").select_option(value)

    def press(self, name: str, key: str) -> None:
        """Press a key on a slider."""
        self.all.locator(".widget-slider", has_text=name).locator(".noUi-handle").press(key)

    def give(self, file: Path) -> None:
        """Choose a file in the dialogue that the button opens."""
        with self.page.expect_file_chooser() as chooser:
            self.all.locator("button").click()
        chooser.value.set_files(file)


class Desk:
    """A student's: JupyterLab in a browser."""

    def __init__(self, page: Any, address: str, folder: Path, results: Path) -> None:
        self.page, self.address, self.folder, self.results = page, address, folder, results
        self.kernel: dict[str, str] = {"name": "python3"}
        self.said: list[str] = []
        page.on("console", self.hear)
        page.on("pageerror", lambda error: self.said.append(str(error)))

    def hear(self, message: Any) -> None:
        """Keep what the console says, of the notebooks."""
        if message.type != "debug" and not OF_THE_MACHINE.fullmatch(message.text):
            self.said.append(message.text)

    def open(self, name: str) -> None:
        """Open a notebook with the kernel of the one before it."""
        self.kernel = open_notebook(self.page, self.address, name, self.kernel)
        self.page.evaluate(CURVES)

    def run_all(self, name: str) -> list[dict[str, Any]]:
        """Run all cells by the menu, save, and return the code cells of the file."""
        run_all_cells(self.page)
        for waits in (True, False):
            self.page.wait_for_function(WAITS, arg=waits, timeout=SECONDS)
        with self.page.expect_response(lambda response: response.request.method == "PUT", timeout=SECONDS):
            self.page.keyboard.press("Control+s")
        return [cell for cell in read_json(self.folder / name)["cells"] if cell["cell_type"] == "code"]

    def widget(self, place: int = 0) -> Widget:
        """Return one of the widgets of the notebook."""
        found = Widget(self.page, place)
        found.all.scroll_into_view_if_needed(timeout=SECONDS)
        return found


@pytest.fixture(scope="module")
def desk(chromium: str, playwright: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Give JupyterLab with the notebooks, and a browser."""
    home = tmp_path_factory.mktemp("lab")
    folder, results = home / "notebooks", home / "results"
    folder.mkdir()
    small(folder, make_dishes(home / "dishes", rice=20, soup=20))
    shutil.copytree(paths.ROOT / "tests/references/example_study", results / "example_study")
    browser = playwright.chromium.launch(
        executable_path=chromium, args=["--no-sandbox"] * (os.geteuid() == 0)
    )
    given = {"FER_RESULTS": str(results), "CUDA_VISIBLE_DEVICES": "-1"}
    with one_core(), jupyterlab(folder, home, **given) as address:
        yield Desk(browser.new_page(viewport={"width": 1280, "height": 1000}), address, folder, results)
        browser.close()


def faces_by_class_and_factor(desk: Desk, folder: Path) -> None:
    shown = desk.widget()
    shown.says(re.compile(r"240 faces of all classes: neutral \(80\), happy \(80\), surprise \(80\)\."))
    before = shown.picture()
    shown.choose("class", "happy")
    shown.says("80 faces of class happy.")
    shown.choose("factor", "light")
    shown.says(re.compile(r"80 faces of class happy, by light: .*frontal \(\d+\).*\."))
    assert shown.picture() != before


def the_curve_grows(desk: Desk, folder: Path) -> None:
    states = desk.page.evaluate("[...seen.values()].map((sources) => sources.size)")
    assert max(states) > 1


def the_onset_follows_the_slider(desk: Desk, folder: Path) -> None:
    shown = desk.widget()
    told = "3 epochs are too few to tell over-fitting, and epoch"
    shown.says(re.compile(f"Window 3, patience 2: {told} [123] is kept, as in the run."))
    before = shown.picture()
    shown.press("window", "ArrowRight")
    shown.says(re.compile(f"Window 5, patience 2: {told} .*"))
    assert shown.picture() != before
    shown.press("patience", "ArrowLeft")
    shown.says(re.compile(f"Window 5, patience 1: {told} .*"))


def mistakes_and_a_picture_of_ones_own(desk: Desk, folder: Path) -> None:
    mistakes, own = desk.widget(0), desk.widget(1)
    mistakes.says(
        re.compile(r"(\d+) of \1 mistakes are any class taken for another, at least 0% sure; page .*")
    )
    mistakes.press("confidence", "End")
    mistakes.says(re.compile(r"0 of \d+ mistakes are any class taken for another, at least 100% sure\."))
    own.says(re.compile("No picture yet: a JPEG, PNG or BMP.*"))
    sheet = Image.open(paths.ROOT / "data/bundled/test.png")
    face = sheet.crop((4 * 48, 0, 5 * 48, 48)).resize((600, 600), Image.Resampling.BICUBIC)
    two = Image.new("L", (1400, 800), 128)
    for at in ((60, 100), (760, 100)):
        two.paste(face, at)
    for name, picture in (("me.jpg", face), ("two.png", two), ("nobody.png", Image.new("L", (900, 700), 90))):
        picture.save(folder / name)
    (folder / "words.png").write_text("words")
    (folder / "large.jpg").write_bytes(bytes(MAX_BYTES + 1))
    for name, told in (
        ("me.jpg", r"me\.jpg: (neutral|happy|surprise) \d+%\."),
        ("words.png", r"words\.png: not a JPEG, PNG or BMP image; .*"),
        ("two.png", r"two\.png: \w+ \d+%; \w+ \d+%\. 2 faces were found on it; .*"),
        ("large.jpg", r"large\.jpg: larger than 64 MiB; .*"),
        ("nobody.png", r"nobody\.png: no face was found on it; .*"),
        ("me.jpg", r"me\.jpg: (neutral|happy|surprise) \d+%\."),
    ):
        own.give(folder / name)
        own.says(re.compile(told))
        assert own.all.locator("img").is_visible() == (name in ("me.jpg", "two.png"))


TRIED: dict[str, Callable[[Desk, Path], None]] = {
    "exploration": faces_by_class_and_factor,
    "training": the_curve_grows,
    "overfitting": the_onset_follows_the_slider,
    "evaluation": mistakes_and_a_picture_of_ones_own,
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_student_runs_all_cells_and_tries_what_is_there(stage, desk, tmp_path):
    name = STAGES[stage].path.name
    desk.said.clear()
    desk.open(name)
    cells = desk.run_all(name)
    for cell in cells:
        wrong = [
            each for each in cell["outputs"] if each["output_type"] == "error" or each.get("name") == "stderr"
        ]
        assert not wrong, f"{cell['id']}: {wrong}"
        assert cell["execution_count"], f"{cell['id']}: not executed"
    shown = [cell for cell in cells if "widget" in cell["metadata"].get("tags", [])]
    for cell in shown:
        (output,) = cell["outputs"]
        assert "application/vnd.jupyter.widget-view+json" in output["data"], cell["id"]
    kept = written(desk.results)
    if stage in TRIED:
        TRIED[stage](desk, tmp_path)
    else:
        assert not shown, "nobody tries them"
    assert written(desk.results) == kept, "what is tried by hand is no part of a run"
    assert desk.said == []
