"""`fer grade`: limited processes, a small class from end to end, killed and resumed, its page in Chromium."""

import json
import os
import signal
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import networks
import pytest
from asserting import refusal, within
from diagnoses import diagnosis, printed
from made_class import PLAYER, again, folder_of, lambda_network, zip_of
from networks import GLOBAL, SOFTMAX, chain
from processes import alive, command, descendants, wait_for

from fer_tools import commands, environment, paths
from fer_tools.commands import grade as command_of_grade
from fer_tools.grading import classroom, limited, rubric, work

CHILD = """
import os
from fer_tools.grading import limited
limited.SECONDS = 1
limited.bound(os.getppid())
"""


def in_bounds(code: str) -> subprocess.CompletedProcess:
    """Run a program in a process that has bounded itself."""
    return subprocess.run(
        [sys.executable, "-c", CHILD + code],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment.of_tool(),
    )


def test_bounds_of_a_process(tmp_path):
    assert in_bounds("\nwhile True: pass").returncode == -signal.SIGKILL
    assert "MemoryError" in in_bounds("bytearray(9 << 30)").stderr
    holed = in_bounds(f"f = open({str(tmp_path / 'large')!r}, 'wb'); f.truncate(301 << 20)")
    assert holed.returncode and (tmp_path / "large").stat().st_size == 0
    assert in_bounds("print('fine')").stdout == "fine\n"


def test_a_process_that_takes_too_long(tmp_path, monkeypatch):
    """It is ended, and so is what it has started."""
    monkeypatch.setattr(limited, "PATIENCE", 0.01)  # Python takes longer to start
    with within(30):
        ended = limited.run(["summary"], tmp_path)
    assert (ended.code, ended.output) == (None, b"") and "more than 0.01 s" in ended.why
    running = [Path(f"/proc/{pid}/cmdline").read_text() for pid in alive(descendants(os.getpid()))]
    assert not [line for line in running if "fer_tools.grading.limited" in line]


def test_what_a_process_says_last(tmp_path):
    ended = limited.run(["diagnose"], tmp_path)
    assert ended.code == 2 and "FILE" in ended.why and "\n" not in ended.why


def test_a_process_has_no_network():
    """Not even this machine's own."""
    if not limited.without_network():
        message = "NOT TESTED: this system gives no process a network of its own (unshare)"
        warnings.warn(message, stacklevel=1)
        pytest.skip(message)
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)"
        for before, failed in (((), False), (limited.ISOLATED, True)):
            done = subprocess.run([*before, sys.executable, "-c", code], capture_output=True, check=False)
            assert bool(done.returncode) == failed


def test_a_diagnosis_depends_on_files_data_tools_and_limit():
    needs = work.Settings("bundled", "d", "v", 150_000)
    others = [
        work.Settings("bundled", "x", "v", 150_000),
        work.Settings("bundled", "d", "x", 150_000),
        work.Settings("bundled", "d", "v", 1),
    ]
    alone = work.Files({"a": b"1"}, "a")
    played = [work.Files({"a": b"1", "b": b"2", "c": c}, "a", "b") for c in (b"3", b"4")]
    keys = {files.key(needs) for files in (alone, *played, work.Files({"a": b"2"}, "a"))}
    assert len(keys | {alone.key(other) for other in others}) == 7
    assert alone.key(work.Settings("elsewhere", "d", "v", 150_000)) == alone.key(needs)
    found, why = work.diagnose(alone, needs)
    assert found is None and "other data or another version" in why


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere"),
        (["{class}", "--rubric", "nowhere.yaml"], "nowhere.yaml"),
        (["{class}", "--roster", "nowhere.csv"], "nowhere.csv"),
        (["{class}", "--data", "nowhere"], "nowhere"),
        (["{class}", "--jobs", "0"], "--jobs"),
        (["{class}", "--column", "A"], "--roster"),
        (["{class}", "--out", "{class}/results"], "lies in the folder"),
    ],
)
def test_mistakes_of_usage(tmp_path, results, arguments, said):
    folder_of(tmp_path / "class", **{"ada/notes.txt": b""})
    given = [argument.replace("{class}", str(tmp_path / "class")) for argument in arguments]
    options = commands.parser().parse_args(["grade", *given])
    assert said in refusal(command_of_grade.action, options)
    assert not results.exists()


def test_work_is_handed_to_a_cluster(tmp_path, monkeypatch):
    """Through its scheduler: files go there and diagnoses come back; what a worker loses has a reason."""
    from distributed import LocalCluster

    def diagnose(files: work.Files, needs: work.Settings) -> tuple[bytes | None, str]:
        model = files.contents[files.model]
        assert model != b"lost", "of this one"
        return printed(diagnosis(800 if model == b"good" else 300)), ""

    monkeypatch.setattr(work, "diagnose", diagnose)
    for name, model in (("ada", b"good"), ("bob", b"bad"), ("cem", b"lost")):
        folder_of(tmp_path / "class" / name, **{"section5.keras": model, "section6.keras": model})
    needs, folder = work.Settings("bundled", "d", "v", 150_000), tmp_path / "class"
    with LocalCluster(1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        graded = classroom.grade(folder, rubric.read(), tmp_path / "out", needs, scheduler=address)
    points = {student.name: student.marked.automatic for student in graded.students}
    assert points == {"ada": 17, "bob": 8, "cem": None}
    assert "lost" in graded.students[2].marked.why and graded.students[2].marked.state == "unreadable"
    assert len(list((tmp_path / "out" / "cache").iterdir())) == 2  # what was lost is tried again


def test_a_game_is_seen_as_it_was_handed_in(tmp_path, monkeypatch):
    """With its settings and the names of all models, at once with the model that it plays with."""
    seen = []

    def diagnose(files: work.Files, needs: work.Settings) -> tuple[bytes | None, str]:
        seen.append(files)
        return printed(diagnosis()), ""

    monkeypatch.setattr(work, "diagnose", diagnose)
    game = {"p/player.py": PLAYER.encode(), "p/config.py": b"A = 1", "config.py": b"", "p/other.py": b""}
    models = {"p/results/section6.keras": b"6", "s5.keras": b"5", "../../p/x.keras": b"x"}
    zip_of(tmp_path / "class" / "ada.zip", **game, **models)
    needs = work.Settings("bundled", "d", "v", 150_000)
    graded = classroom.grade(tmp_path / "class", rubric.read(), tmp_path / "out", needs, jobs=1)
    alone, played = sorted(seen, key=lambda files: files.game or "")
    assert (alone.contents, alone.model, alone.game) == ({"model.keras": b"5"}, "model.keras", None)
    base = "handed_in/p"
    assert (played.model, played.game) == (f"{base}/results/section6.keras", f"{base}/player.py")
    assert played.contents == {
        f"{base}/player.py": PLAYER.encode(),
        f"{base}/config.py": b"A = 1",
        f"{base}/results/section6.keras": b"6",
        "handed_in/s5.keras": b"",
    }
    [student] = graded.students
    assert student.keys["s6"] == student.keys["s7"] != student.keys["s5"]


# -- a small class -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """Give the folder of a class of nine, graded: killed once on the way."""
    root = tmp_path_factory.mktemp("small")
    trained = (paths.ROOT / "results/reference/model.keras").read_bytes()
    guessing = networks.held(root / "guessing.keras", chain(GLOBAL, SOFTMAX)).read_bytes()
    player = {"game/player.py": PLAYER.format(side=64).encode()}
    folder = root / "class"
    packed = again(trained)  # each file costs a process
    folder_of(folder / "ada", **{"section5.keras": packed, "optimized_model.keras": trained}, **player)
    zip_of(folder / "bob.zip", **{"Bob's work/s5.keras": packed, "Bob's work/s6.keras": packed})
    folder_of(folder / "cem", **{"section5.keras": guessing, "section6.keras": packed})
    folder_of(folder / "dan", **{"a.keras": trained, "b.keras": guessing})
    folder_of(
        folder / "<b>eve\n", **{"section5.keras": lambda_network(root / "evidence"), "section6.keras": b""}
    )
    folder_of(folder / "fay", **{"report.pdf": b""})
    (folder / "gus.zip").write_bytes(b"PK\3\4")
    os.mkfifo(folder / "hal")
    folder_of(folder, **{"ivy_7_8_section6.keras": packed})
    rows = ["Student,ID,SIS Login ID,Faces (1)", "    Points Possible,,,20"]
    rows += [f'"{name}",{i},{name},' for i, name in enumerate(("ada", "bob", "cem", "dan", "eve", "fay"), 1)]
    (root / "canvas.csv").write_text("\n".join([*rows, '"ivy",7,x,', ""]))
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    (root / "tmp").mkdir()
    given = [folder, "--data", "bundled", "--out", root / "out", "--roster", root / "canvas.csv", "--jobs", 2]
    run = command(root / "results", "grade", *given)
    run["env"] |= {"TMPDIR": str(root / "tmp")}

    process = subprocess.Popen(**run, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: list((root / "out").glob("cache/[!.]*.json")), process)
    kept = {path: path.stat().st_mtime_ns for path in (root / "out" / "cache").glob("[!.]*.json")}
    started = descendants(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not alive(started))  # what it had started ends with it

    done = subprocess.run(**run, capture_output=True, check=False)
    (root / "said").write_text(done.stdout)
    assert done.returncode == 1, done.stderr
    assert kept and {path: path.stat().st_mtime_ns for path in kept} == kept
    assert {path: path.lstat().st_mtime_ns for path in folder.rglob("*")} == before
    assert not list((root / "tmp").iterdir()) and not (root / "results").exists()
    assert not (root / "evidence").exists()
    return root


def students(root: Path) -> dict[str, dict]:
    document = json.loads((root / "out" / "grades.json").read_text())
    return {student["name"]: student for student in document["students"]}


def test_states_of_a_class(small):
    found = students(small)
    expected = {
        "<b>eve ": ("unreadable", "Lambda"),
        "ada": ("graded", ""),
        "bob": ("graded", ""),
        "cem": ("look", "cannot be told"),
        "dan": ("ambiguous", "a.keras, b.keras"),
        "fay": ("missing", "no model"),
        "gus": ("unreadable", "zip that cannot be read"),
        "hal": ("unreadable", "a pipe"),
        "ivy_7": ("missing", "none of the models"),
    }
    assert {name: student["state"] for name, student in found.items()} == {
        k: v[0] for k, v in expected.items()
    }
    for name, (_, words) in expected.items():
        assert words in found[name]["why"]
    reference = json.loads((paths.ROOT / "results/reference/metrics.json").read_text())
    test = found["ada"]["sections"]["s5"]["diagnosis"]["test"]
    assert abs(test["accuracy"] - reference["test.accuracy"]) < 1.5 / test["images"]
    assert found["ada"]["points"] == found["bob"]["points"] == 17
    assert found["cem"]["sections"]["s5"]["items"]["s5.accuracy"]["points"] is None
    assert found["ivy_7"]["sections"]["s6"]["items"]["s6.accuracy"]["points"] == 5
    assert found["ada"]["sections"]["s7"]["file"] == "game/player.py"
    assert found["ada"]["sections"]["s6"]["diagnosis"]["game"]["sentence"]
    assert found["fay"]["papers"] == ["report.pdf"]


def test_same_weights_packed_anew(small):
    document = json.loads((small / "out" / "grades.json").read_text())
    [group] = document["same_weights"]
    assert {name for name, _ in group} == {"ada", "bob", "cem", "ivy_7"}
    found = students(small)
    first, second = (found[name]["sections"]["s6"]["diagnosis"]["file"] for name in ("ada", "bob"))
    assert first["weights_sha256"] == second["weights_sha256"] and first["sha256"] != second["sha256"]
    for path in (small / "out" / "feedback").iterdir():
        assert "weights" not in path.read_text()


def test_what_was_written(small):
    out = small / "out"
    assert {path.name for path in out.iterdir()} == {
        "class.html",
        "grades.json",
        "feedback",
        "canvas.csv",
        "cache",
        ".lock",
    }
    names = sorted(path.stem for path in (out / "feedback").glob("*.md"))
    assert len(names) == 9 and names == sorted(path.stem for path in (out / "feedback").glob("*.html"))
    assert all(name.replace("-", "").replace("_", "").isalnum() for name in names)
    before, after = (path.read_text().splitlines() for path in (small / "canvas.csv", out / "canvas.csv"))
    assert [a for a, b in zip(after, before, strict=True) if a != b] == ['"ada",1,ada,17', '"bob",2,bob,17']
    said = (small / "said").read_text()
    assert "\x1b" not in said and said.splitlines()[-1] == str(out / "class.html")
    assert any(line.startswith("ada") and "17 / 17" in line for line in said.splitlines())


def test_a_class_that_is_done_is_done(small, monkeypatch):
    """Nothing is diagnosed again; what a student has taken away is gone, and a rubric counts at once."""
    rules = small / "rubric.yaml"
    text = (paths.ROOT / "fer_tools/grading/rubric.yaml").read_text()
    rules.write_text(text.replace("at_least: 0.60", "at_least: 0.99"))
    monkeypatch.setattr(work, "diagnose", lambda *_: pytest.fail("diagnosed again"))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    (small / "out" / "feedback" / "old.md").write_text("of somebody who left")
    given = [
        "grade",
        str(small / "class"),
        "--data",
        "bundled",
        "--out",
        str(small / "out"),
        "--rubric",
        str(rules),
    ]
    options = commands.parser().parse_args(given)
    assert command_of_grade.action(options) == 1
    found = students(small)
    assert found["ada"]["points"] == 13 and found["ada"]["state"] == "graded"
    assert not (small / "out" / "feedback" / "old.md").exists()


def test_the_page_in_a_browser(small, tmp_path, playwright, chromium):
    """It sorts by click and key, unfolds by link, fits a telephone, and asks nobody for anything."""
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": 390, "height": 800})
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    address = (small / "out" / "class.html").as_uri()
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    def names() -> list[str]:
        return page.locator("table.students > tbody > tr:first-child > th").all_inner_texts()

    first = names()
    page.click("table.students button:has-text('s6')")
    shares = page.locator("table.students > tbody > tr:first-child > td:nth-child(4)").all_inner_texts()
    known = [float(share.rstrip("%")) for share in shares if "%" in share]
    assert known == sorted(known) and shares[-1] == "–" and names() != first
    page.focus("table.students button:has-text('Student')")
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("Student")
    assert names() == sorted(names(), key=str.casefold)
    page.keyboard.press("Enter")
    assert names() == sorted(names(), key=str.casefold, reverse=True)
    page.goto(f"{address}#s1")
    page.wait_for_selector("#s1 details[open]")
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    page.click("#s1 a:has-text('Feedback')")
    assert page.url.endswith(".html") and "feedback/" in page.url
    browser.close()
    assert said == [] and all(url.startswith("file:") for url in asked)
