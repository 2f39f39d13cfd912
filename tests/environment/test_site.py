"""The site: every page of it in a browser as narrow as a telephone, on a host that is no more than files."""

import re
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag

import pytest
from asserting import refusal
from synthetic import synthetic_run

from fer_tools import notebooks, paths
from fer_tools.console import exit_code
from fer_tools.report import build as report
from fer_tools.run.run import Run
from fer_tools.site import __main__ as command
from fer_tools.site import build, mathml
from fer_tools.stages import STAGES
from fer_tools.students import exercises, release

PLACE = "a/course"  # on the host: links that begin with a slash would lead out of it
PHONE = {"width": 390, "height": 844}
# What is wider than the page and does not scroll by itself, and where links of the page lead.
LOOK = """() => {
  const wide = document.scrollingElement.scrollWidth > innerWidth;
  const scrolls = (e) => e && (getComputedStyle(e).overflowX !== "visible" || scrolls(e.parentElement));
  const beyond = (e) => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e.parentElement);
  const all = wide ? [...document.body.querySelectorAll("*")] : [];
  return {
    wide: all.filter(beyond).map((e) => e.outerHTML.slice(0, 200)),
    links: [...document.links].map((a) => a.href),
    ids: [...document.querySelectorAll("[id]")].map((e) => e.id),
    text: document.body.innerText,
  };
}"""


class Seen(NamedTuple):
    """A page as the browser has it."""

    wide: list[str]
    links: list[str]
    ids: list[str]
    text: str


class Crawl(NamedTuple):
    """What came of going to every page."""

    origin: str
    pages: dict[str, Seen]
    said: list[str]
    requests: set[str]
    failed: set[str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the site with the report of an invented run; do not write into it."""
    run = synthetic_run(tmp_path_factory.mktemp("results") / "basic_model_50_epochs_timestamp_1760000000")
    report.build(run)
    folder = tmp_path_factory.mktemp("host") / PLACE
    build.write(folder, Run(run))
    return folder


class Quiet(SimpleHTTPRequestHandler):
    """A host of files that writes no log."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    host = site.parents[PLACE.count("/")]
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(host))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{PLACE}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser(chromium: str, playwright: Any) -> Iterator[Any]:
    opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def crawl(site: Path, address: str, browser: Any) -> Crawl:
    """Go to every page that there is, but the game's, which is an application of its own."""
    page = browser.new_page(viewport=PHONE)
    said, requests, failed = [], set(), set()
    page.on("console", lambda message: said.append(f"{page.url}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"{page.url}: {error}"))
    page.on("request", lambda request: requests.add(request.url))
    page.on("response", lambda answer: failed.add(answer.url) if answer.status >= 400 else None)
    pages = {}
    for path in sorted(site.rglob("*.html")):
        name = path.relative_to(site).as_posix()
        if not name.startswith("game/"):
            page.goto(address + name)
            pages[address + name] = Seen(**page.evaluate(LOOK))
    page.close()
    return Crawl(address, pages, said, requests, failed)


@pytest.mark.slow
def test_no_page_scrolls_sideways_on_a_telephone(crawl):
    assert len(crawl.pages) > 100
    assert {url: seen.wide for url, seen in crawl.pages.items() if seen.wide} == {}


@pytest.mark.slow
def test_nothing_is_asked_of_another_host_nothing_is_missing_and_the_console_is_empty(crawl):
    assert {url for url in crawl.requests if not url.startswith((crawl.origin, "data:"))} == set()
    assert crawl.failed == set()
    assert crawl.said == []


@pytest.mark.slow
def test_no_link_is_dead_nor_any_anchor(crawl, site):
    dead, inner = set(), 0
    for url, seen in crawl.pages.items():
        for link in seen.links:
            page, anchor = urldefrag(link)
            if not page.startswith("http://127.0.0.1:"):
                continue
            inner += 1
            inside = page.startswith(crawl.origin)
            path = site / (unquote(page.removeprefix(crawl.origin)) if inside else "nowhere")
            if path.is_dir():
                path, page = path / "index.html", f"{page}index.html"
            known = crawl.pages[page].ids if page in crawl.pages else []
            if not path.is_file() or (anchor and unquote(anchor) not in known):
                dead.add((url, link))
    assert dead == set() and inner > 1000


@pytest.mark.slow
def test_every_page_can_be_come_to_from_the_first(crawl):
    ways, seen = [f"{crawl.origin}index.html"], set()
    while ways:
        url = ways.pop()
        if url in crawl.pages and url not in seen:
            seen.add(url)
            ways += [urldefrag(link)[0] for link in crawl.pages[url].links]
    apart = {url.removeprefix(crawl.origin) for url in crawl.pages.keys() - seen}
    assert apart == {"search.html"}  # by the field beside each page


class Text(HTMLParser):
    """The text of a page, and how many there are of each element."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.count, self.text = {}, ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_notebooks_have_their_figures_and_equations_and_no_solution(site, stage):
    source = exercises.read(STAGES[stage].path)
    page = Text(site / "notebooks" / f"{STAGES[stage].notebook}.html")
    squeezed = re.sub(r"\s+", "", page.text)
    for cell in source.cells:
        for line in exercises.inside(cell.source):
            if len(line.strip()) >= release.TELLING:
                assert re.sub(r"\s+", "", line) not in squeezed
    assert "YOURCODEHERE" in squeezed and "BEGINSOLUTION" not in squeezed
    of_exercises = {notebooks.EXERCISE, notebooks.CHECK}
    shown = [cell for cell in source.cells if not of_exercises & {*exercises.tags(cell)}]
    outputs = [output for cell in shown for output in cell.get("outputs", [])]
    assert page.count.get("img", 0) == sum("image/png" in output.get("data", {}) for output in outputs)
    prose = "\n\n".join(cell.source for cell in shown if cell.cell_type == "markdown")
    prose = re.sub(r"```.*?```|`[^`]*`", "", prose, flags=re.DOTALL)
    equations = len(re.findall(r"\$\$.+?\$\$|\$[^$]+\$", prose, re.DOTALL))
    assert page.count.get("math", 0) >= equations > 0


@pytest.mark.slow
def test_equations_are_drawn(address, browser):
    """A fraction, the first, is higher than a line of text; its parts stand one above the other."""
    page = browser.new_page(viewport=PHONE)
    page.goto(f"{address}notebooks/02_training.html")
    line = page.locator("article p").first.evaluate("e => parseFloat(getComputedStyle(e).lineHeight)")
    fraction = page.locator("div.math mfrac").first
    top, bottom = (fraction.locator(f"> :nth-child({i})").bounding_box() for i in (1, 2))
    assert fraction.bounding_box()["height"] > 1.3 * line and top["y"] + top["height"] <= bottom["y"] + 1
    page.close()


@pytest.mark.slow
def test_the_game_is_ready_to_play(address, browser):
    page = browser.new_page(viewport=PHONE)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}game.html")
    page.get_by_role("link", name="Play", exact=True).click()
    page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
    assert said == [] and all(url.startswith((address, "blob:")) for url in asked)
    page.close()


@pytest.mark.slow
def test_the_report_and_the_reference_are_there(crawl, site):
    lead = crawl.pages[f"{crawl.origin}report.html"]
    assert "test accuracy 73.9%" in lead.text
    assert {f"{crawl.origin}report/report.{kind}" for kind in report.FORMATS} <= {*lead.links}
    assert (site / "report/report.pdf").read_bytes().startswith(b"%PDF-")
    shown = crawl.pages[f"{crawl.origin}api/fer_lib/statistics/index.html"]
    assert "fer_lib.statistics.wilson_interval" in shown.ids and "Wilson score interval" in shown.text
    assert (site / ".nojekyll").is_file() and not list(site.rglob("*.ipynb"))


# -- without a whole site ----------------------------------------------------------------------------------


def test_without_a_run_it_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    monkeypatch.delenv("REPORT", raising=False)
    assert exit_code(command.write) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "no run" in said and "fer run" in said
    monkeypatch.setenv("REPORT", "nothing")
    assert exit_code(command.write) == 2 and "'nothing'" in capsys.readouterr().err


def test_a_run_without_a_report_or_with_another_is_refused_and_the_old_site_stays(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("old")
    run = synthetic_run(tmp_path / "results" / "a_timestamp_1")
    assert "not built" in refusal(build.write, tmp_path / "site", Run(run))
    copy = shutil.copytree(paths.ROOT / "results" / "reference", tmp_path / "results" / "reference")
    (copy / "report.pdf").write_bytes(b"%PDF-another")
    assert "report.pdf" in refusal(build.write, tmp_path / "site", Run(copy))
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["index.html"]
    assert {path.name for path in tmp_path.iterdir()} == {"site", "results"}


def test_a_dead_link_or_an_equation_that_cannot_be_shown_is_refused_by_name(tmp_path):
    conf = 'extensions = ["myst_parser", "fer_tools.site.mathml"]\nmyst_enable_extensions = ["dollarmath"]\n'
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "conf.py").write_text(f'{conf}html_theme, html_math_renderer = "basic", "mathml"\n')
    page = tmp_path / "pages" / "index.md"
    page.write_text("# Here\n\n[There](nowhere.md)\n")
    said = refusal(build.render, tmp_path / "pages", tmp_path / "site")
    assert "index.md:3" in said and "nowhere.md" in said
    page.write_text("# Here\n\n$x$, and $\\frac{a$\n")
    said = refusal(build.render, tmp_path / "pages", tmp_path / "other")
    assert "index.md:3" in said and "\\frac{a" in said


def test_equations_become_mathml():
    found = mathml.mathml(
        [("InlineMath", "x"), ("DisplayMath", r"\frac{a}{\log \hat p}"), ("InlineMath", "x")]
    )
    assert len(found) == 2 and "<mi>x</mi>" in found["InlineMath", "x"]
    shown = found["DisplayMath", r"\frac{a}{\log \hat p}"]
    assert "<mfrac>" in shown and ">log</mi><mspace" in shown and "\u0302" not in shown


def test_students_do_not_get_it(tmp_path):
    student, _ = release.write(tmp_path)
    assert not (student / "docs").exists() and not (student / "fer_tools" / "site").exists()
    assert not re.search(r"^site:|REPORT", (student / "Makefile").read_text(), re.MULTILINE)
