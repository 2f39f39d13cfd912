"""Fixtures: a real Chromium with a fake camera, and the page in it."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from browser import Page

from fer_tools.play import server

ROOT_ONLY = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has no sandbox for root


@pytest.fixture(scope="module")
def served() -> Iterator[server.Server]:
    """Serve the page with the shipped network."""
    with server.make() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture(scope="module")
def page(chromium: str, playwright: Any, served: server.Server) -> Iterator[Page]:
    """Give the page, open for all tests of a file, with a camera that they turn to faces."""
    browser = playwright.chromium.launch(executable_path=chromium, args=ROOT_ONLY)
    opened = Page(browser.new_page(), served.url, directed=True)
    yield opened
    opened.check_quiet()
    browser.close()


@pytest.fixture
def open_page(chromium: str, playwright: Any, served: server.Server) -> Iterator[Callable[..., Page]]:
    """Give what opens the page, in a browser of its own.

    `film` is what its camera shows over and over; None: a camera that the test turns to faces with
    `Page.show`; False: no camera at all. At the end nothing may stand in the console, no policy may be
    violated, and nothing may have been asked for elsewhere.
    """
    with ExitStack() as stack:

        def opened(
            film: Path | bool | None = None, url: str | None = None, allow: bool = True, **context: Any
        ) -> Page:
            args = [*ROOT_ONLY]
            if film is not False:
                args += ["--use-fake-device-for-media-stream"] + ["--use-fake-ui-for-media-stream"] * allow
            if film:
                args += [f"--use-file-for-fake-video-capture={film}"]
            browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=args)
            stack.callback(browser.close)
            page = Page(browser.new_context(**context).new_page(), url or served.url, film is None)
            stack.callback(page.check_quiet)
            return page

        yield opened
