"""Play the game that is committed as an example: by rendered faces, in a real browser.

PYTHONPATH=. python tests/helpers/example_trace.py [CHROMIUM]
"""

import os
import shutil
import sys
import threading

import numpy as np
from browser import Page
from camera import EXPRESSIONS, answers, bundled, frame

from fer_lib.files import ROOT
from fer_tools.play import server, trace

LINES = ((4, 2, 6), (4, 0, 8), (4, 1, 7), (4, 3, 5))
TARGET = ROOT / "game" / "example_trace.json"


class Player:
    """Somebody who looks as is asked, with another rendered face each time, some of them hard to tell."""

    def __init__(self, page: Page) -> None:
        self.page, self.rng = page, np.random.default_rng(16)

    def look(self, expression: int, sure: float) -> None:
        """Show a face of an expression, of which the network is so sure at least."""
        images, labels = bundled()
        fit = np.flatnonzero((labels == expression) & (answers()[:, expression] > sure))
        face = images[self.rng.choice(fit)]
        size, x, y, tilt = self.rng.uniform([110, 260, 200, -15], [240, 380, 280, 15])
        self.page.show(frame((face, size, x, y, tilt)), EXPRESSIONS[expression])

    def choose(self, expression: int, then: str) -> None:
        """Look so until the page says something."""
        self.look(expression, 0.85)
        self.page.wait("say", then, 20)


def play(page: Page) -> None:
    """Play a game, with one choice taken back and one by key, then thirty prompts."""
    player = Player(page)
    player.look(0, 0.85)
    page.page.select_option("#level", "easy")
    page.page.click("#camera")
    player.choose(1, "Now choose a column")
    page.page.keyboard.press("Backspace")
    page.wait("say", "Taken back")
    while True:
        board = page.board()
        open_lines = [line for line in LINES if all(board[i] != "O" for i in line)]
        line = open_lines[0] if open_lines else range(9)
        row, column = divmod(next(i for i in line if board[i] == "."), 3)
        player.choose(row, "Now choose a column")
        if board.count("X") == 1:
            page.page.keyboard.press(str(column + 1))
        else:
            player.choose(column, "row, ")
        page.page.wait_for_selector("#say:text-matches('Choose a row|win|draw')", timeout=20_000)
        if "Choose" not in page.text("say"):
            break
    page.page.click("#measure")
    for number in range(1, 31):
        page.wait("prompt", f"{number} of 30", 20)
        word = page.page.inner_text("#prompt .word")
        player.look(("Look neutral", "Look happy", "Look surprised").index(word), 0.4)
    page.wait("prompt", "recognised", 20)


def main() -> None:
    """Write the example."""
    from playwright.sync_api import sync_playwright

    with server.make() as served, sync_playwright() as driver:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        path = (sys.argv[1:] or [shutil.which("chromium")])[0]
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"] * (os.geteuid() == 0))
        page = Page(browser.new_page(), served.url, directed=True, rate=30)
        play(page)
        recorded = trace.checked(page.trace(), "the page's")
        trace.write(TARGET, recorded)
        print(f"{TARGET}: {len(recorded['frames'])} frames, {len(recorded['events'])} events")
        browser.close()
        served.shutdown()


if __name__ == "__main__":
    main()
