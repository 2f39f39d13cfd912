"""What notebook 06 makes of a trace: numbers by SciPy and statsmodels, words for all outcomes."""

import copy
import json
import math

import numpy as np
import pytest
from asserting import refusal, within
from hypothesis import given
from hypothesis import strategies as st
from staged import choose, settings, train

from fer_lib.files import UsageError
from fer_tools import commands, paths, pipeline, pretrained
from fer_tools.game import figures, played, recognised
from fer_tools.play import trace as traces
from fer_tools.run.stage import begin

FACE = {"x": 300.0, "y": 200.0, "side": 160.0, "angle": -8.0, "score": 0.9, "brightness": 120.0}


def a_trace(*events, frames=(), classes=("neutral", "happy", "surprise"), **network):
    """Return a trace of events, (type, more) each, a second apart; checked as one that was read."""
    network = {"name": "a_network", "sha256": "0" * 64, "classes": list(classes), "size": 48} | network
    defaults = {"dwell": 1000, "neutral": 1.6, "smoothing": 250, "enter": 0.55, "leave": 0.45}
    document = {
        "format": "fer-lab-game-trace",
        "version": 1,
        "started": "2026-01-02T03:04:05.678Z",
        "network": network,
        "finder": {"name": "a_finder", "sha256": "1" * 64},
        "settings": defaults | {"countdown": 1500, "undo": 1500},
        "frames": list(frames),
        "events": [{"t": 1000.0 * i, "type": kind} | more for i, (kind, more) in enumerate(events)],
    }
    return traces.checked(document, "a trace")


def a_frame(t, face=FACE, **more):
    p = None if face is None else [0.2, 0.7, 0.1]
    return {"t": float(t), "phase": "row", "face": face, "p": p, "ms": 20.0} | more


def choice(of, value, how="face", took=1000):
    expression = traces.EXPRESSIONS[value]
    return "choice", {"of": of, "value": value, "expression": expression, "how": how, "took": took}


def move(by, row, column, board):
    return "move", {"by": by, "cell": [row, column], "board": board}


def answer(prompt, given, took=1000):
    return "answer", {"prompt": prompt, "answer": given, "took": took}


START = "new_game", {"level": "easy"}
UNDONE = "undo", {"of": "column"}


def ended(winner):
    return "result", {"winner": winner}


# ----------------------------------------------------------------------------------------- how it was played


def test_games_end_at_their_result_or_where_they_were_left():
    first = [START, move("player", 0, 0, "X........"), ended("nobody")]
    left = [START, move("player", 1, 1, "....X...."), ("measure", {"prompts": 3}), answer("happy", "happy")]
    begun = [START]
    found = played.games(a_trace(*first, *left, *begun))
    assert [game.winner for game in found] == ["nobody", ""]
    assert [len(game.events) for game in found] == [3, 2]
    assert played.most_telling(found) is found[0]
    assert played.most_telling(found[1:]) is found[1] and played.most_telling([]) is None


def test_a_move_that_was_taken_back_is_none():
    events = [START, move("player", 0, 0, "X........"), UNDONE, move("player", 0, 1, ".X.......")]
    events += [move("computer", 2, 2, ".X......O"), UNDONE]  # nothing of the player's is left to take back
    (game,) = played.games(a_trace(*events))
    assert [each["cell"] for each in game.moves] == [[0, 1], [2, 2]]


def test_choices_know_what_became_of_them():
    events = [
        START,
        choice("row", 1),
        ("undo", {"of": "row"}),
        choice("row", 2),
        choice("column", 0, took=2500),
    ]
    events += [
        ("meant", {"expression": "happy", "chosen": "neutral"}),
        UNDONE,
        choice("column", 1, "keyboard", 0),
    ]
    table = played.choices(a_trace(*events))
    assert table["state"].tolist() == ["taken back", "stands", "other meant", "stands"]
    assert table["meant"].tolist() == ["", "", "happy", ""]
    assert table["place"].tolist() == [2, 3, 1, 2] and table["seconds"].tolist() == [1, 1, 2.5, 0]
    found = played.facts(a_trace(*events, frames=[a_frame(0)]))
    assert (found["choices_by_face"], found["choices_undone"], found["choices_wrong"]) == (3, 1, 1)
    assert found["stood_share"] == pytest.approx(1 / 3) and found["choice_seconds"] == 1
    assert "4 choices were made, 3 of them by face" in found["interface_sentence"]


def test_pictures_are_counted():
    frames = [a_frame(0), a_frame(50, None), a_frame(100, away=True), a_frame(150)]
    found = played.facts(a_trace(START, frames=frames))
    assert (found["pictures"], found["face_share"], found["away_share"]) == (4, 0.75, 0.25)
    assert found["frames_per_second"] == 20 and found["answer_ms"] == 20 and found["choice_seconds"] is None
    assert found["interface_sentence"].startswith("No choice was made.") and not found["script_sentence"]
    scripted = played.facts(a_trace(frames=[a_frame(0, intended="happy")]))
    assert "A script played this game" in scripted["script_sentence"]
    by_hand = played.facts(a_trace(START, choice("row", 0, "pointer"), frames=frames))
    assert "1 choice was made, none of them by face" in by_hand["interface_sentence"]


@pytest.mark.parametrize("frames", [[], [a_frame(0, None)]])
def test_a_trace_without_a_face_is_refused(frames):
    assert "no picture with a face" in refusal(played.facts, a_trace(START, frames=frames))


# ------------------------------------------------------------------------------------- how it was recognised

COUNTS = st.tuples(st.integers(1, 300), st.integers(1, 5000)).flatmap(
    lambda n: st.tuples(st.integers(0, n[0]), st.just(n[0]), st.integers(0, n[1]), st.just(n[1]))
)


@given(COUNTS)
def test_the_interval_of_a_difference_is_newcombes(counts):
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    expected = proportion.confint_proportions_2indep(*counts, method="newcomb")
    assert recognised.newcombe_interval(*counts) == pytest.approx(expected, abs=1e-12)


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=40), st.lists(st.integers(0, 9), min_size=1, max_size=40)
)
def test_mann_and_whitneys_test_is_scipys(ours, theirs):
    stats = pytest.importorskip("scipy.stats")
    above, p = recognised.mann_whitney(np.array(ours, float), np.array(theirs, float))
    expected = stats.mannwhitneyu(ours, theirs, method="asymptotic")
    assert above == pytest.approx(expected.statistic / len(ours) / len(theirs))
    assert p == pytest.approx(1.0 if math.isnan(expected.pvalue) else expected.pvalue, abs=1e-12)


def test_mann_and_whitneys_test_of_nothing_says_nothing():
    for pair in (([], [1.0]), ([1.0], [])):
        assert all(map(math.isnan, recognised.mann_whitney(*map(np.array, pair))))


def test_prompts_have_what_was_seen_meanwhile():
    camera = "camera", {"state": "on", "width": 640, "height": 480}
    faces = [
        FACE | {"side": side, "angle": angle} for side, angle in ((64.0, -3.0), (128.0, 5.0), (320.0, 40.0))
    ]
    frames = [a_frame(1999), *(a_frame(t, face) for t, face in zip((2000, 2500, 3000), faces, strict=True))]
    frames += [a_frame(3000, None), a_frame(3000, faces[2], away=True), a_frame(3001)]
    events = [camera, ("measure", {"prompts": 2}), ("measure", {"prompts": 2}), answer("happy", None)]
    table = recognised.prompts(a_trace(*events, answer("surprise", "surprise", 100), frames=frames))
    first, second = table.to_dict("records")
    assert (first["answer"], first["right"], first["pictures"]) == ("none", False, 5)
    assert (first["size"], first["tilt"], first["face_share"]) == (0.2, 5.0, 0.6)
    assert second["right"] and second["pictures"] == 0 and math.isnan(second["size"])


def test_confusion_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    pairs = [
        (traces.EXPRESSIONS[a], (*traces.EXPRESSIONS, None)[b]) for a, b in rng.integers(0, (3, 4), (60, 2))
    ]
    table = recognised.prompts(a_trace(*(answer(*pair) for pair in pairs)))
    labels = [*traces.EXPRESSIONS, "none"]
    expected = metrics.confusion_matrix(table["prompt"], table["answer"], labels=labels)[:3]
    assert (recognised.confusion(table) == expected).all() and expected.min() > 0


def prompted(right, wrong):
    return recognised.prompts(a_trace(*[answer("happy", "happy")] * right, *[answer("happy", None)] * wrong))


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        (0, 0, "Nobody was prompted"),
        (9, 1, "too few prompts to tell"),
        (60, 40, "So it recognises fewer here than there: −30.0 points (−"),
        (400, 0, "So it recognises more here than there: +10.0 points"),
        (900, 100, "as accurate here as there, to within 10 points: 0.0 points (−2"),
    ],
)
def test_a_comparison_says_what_can_be_told(right, wrong, said):
    table = prompted(right, wrong)
    test = {"test.accuracy": 0.9, "test.images": 2000, "test.recall.happy": 0.8}
    found = recognised.facts(table, "this run's network", test)
    assert said in found["comparison_sentence"]
    assert found["mix_accuracy"] == (pytest.approx(0.8) if len(table) else None)
    told = recognised.sentences(table, found)
    assert ("would be 80.0%, instead of 90.0%" in told["mix_sentence"]) == bool(len(table))
    unknown = recognised.facts(table, "another network", {})
    assert unknown["difference"] is None and unknown["test_accuracy_low"] is None
    assert len(table) == 0 or "nothing to compare it with" in unknown["comparison_sentence"]


def seen_so(values):
    """Return prompts, (right, side, angle, brightness) each, of one picture."""
    events, frames = [("camera", {"state": "on", "width": 1000})], []
    for i, (right, side, angle, brightness) in enumerate(values):
        events.append(answer("happy", "happy" if right else "neutral", 1))
        face = FACE | {"side": side, "angle": angle, "brightness": brightness}
        frames.append(a_frame(1000 * (i + 1), face))
    return recognised.prompts(a_trace(*events, frames=frames))


def test_what_goes_with_being_recognised_is_said_if_it_can_be_shown():
    rng = np.random.default_rng(3)
    same = [(i % 2 == 0, 200.0, rng.normal(0, 5), 120.0) for i in range(60)]
    shown = [(right, side, angle, 160.0 if right else 60.0) for right, side, angle, _ in same]
    nothing = recognised.sentences(seen_so(same), {"mix_accuracy": None})["conditions_sentence"]
    assert "none can be shown" in nothing and "60 prompts" in nothing
    told = recognised.sentences(seen_so(shown), {"mix_accuracy": None})["conditions_sentence"]
    assert told == (
        "What went with being recognised: brightness (median 160 where it was recognised, 60 where not; "
        "grey level)."
    )
    alone = recognised.sentences(seen_so(shown[::2]), {"mix_accuracy": None})
    assert "cannot be told" in alone["conditions_sentence"]
    assert alone["confusion_sentence"] == "Every prompt was recognised."


def test_mistakes_are_told_apart_from_silence():
    pairs = [
        ("happy", "neutral"),
        ("happy", "neutral"),
        ("neutral", "happy"),
        ("neutral", None),
        ("happy", "happy"),
    ]
    table = recognised.prompts(a_trace(*(answer(*pair) for pair in pairs)))
    assert recognised.sentences(table, {"mix_accuracy": None})["confusion_sentence"] == (
        "Of 4 prompts that were not recognised, 3 were taken for another expression, most often happy for "
        "neutral (2); of 1 no answer was held long enough, and in 1 of these no face looked at the camera "
        "most of the time."
    )


def test_the_network_that_played_is_known_by_its_digest(results, face_folder):
    run = choose(train(face_folder))
    evaluation = begin("evaluation", settings("evaluation", run))
    evaluation.record("test", {"accuracy": 0.75, "images": 40, "recall.happy": 0.5})
    evaluation.finish()
    digest = run.digest("model.keras")
    network, found = recognised.tested(a_trace(keras_sha256=digest), run)
    assert network == "this run's network" and found["test.accuracy"] == 0.75
    for name in pretrained.names():
        network, found = recognised.tested(a_trace(keras_sha256=pretrained.facts(name)["sha256"]), run)
        assert network == f"the shipped network, {name}" and found == pretrained.facts(name)["metrics"]
    for other in ({}, {"keras_sha256": "f" * 64}):
        assert recognised.tested(a_trace(**other), run)[1] == {}


# --------------------------------------------------------------------------------------------------- figures


def texts(figure):
    return {text.get_text() for ax in figure.axes for text in ax.texts}


def test_a_game_is_drawn_with_its_choices_and_boards():
    events = [
        START,
        choice("row", 1),
        ("undo", {"of": "row"}),
        choice("row", 0),
        choice("column", 2, "keyboard"),
    ]
    events += [move("player", 0, 2, "..X......"), move("computer", 1, 1, "..X.O...."), ended("nobody")]
    frames = [a_frame(t, None if t > 5000 else FACE) for t in range(0, 7000, 50)]
    trace = a_trace(*events, frames=frames)
    figure = figures.moves(trace, played.games(trace)[0])
    shown = texts(figure)
    assert {"row 1", "column 3 (key)", "you", "computer", "×", "○"} <= shown and "row 2" not in shown
    assert sum("\N{COMBINING LONG STROKE OVERLAY}" in text for text in shown) == 1
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 2]
    assert [line.get_label() for line in lines] == list(traces.EXPRESSIONS)
    for line, p in zip(lines, (0.2, 0.7, 0.1), strict=True):
        assert set(line.get_ydata()[:101]) == {p} and np.isnan(line.get_ydata()[101:]).all()


def test_classes_in_another_order_are_drawn_by_their_names():
    frames = [a_frame(t) | {"p": [0.1, 0.6, 0.2, 0.1]} for t in range(0, 1000, 50)]
    trace = a_trace(
        START,
        move("player", 0, 0, "X........"),
        frames=frames,
        classes=("sad", "surprise", "happy", "neutral"),
    )
    lines = figures.moves(trace, played.games(trace)[0]).axes[0].lines
    values = {
        line.get_label(): line.get_ydata()[0] for line in lines if line.get_label() in traces.EXPRESSIONS
    }
    assert values == {"neutral": 0.1, "happy": 0.2, "surprise": 0.6}


@pytest.mark.parametrize("right", [[], [True], [False], [True, False], [True] * 5 + [False] * 4])
def test_figures_are_drawn_of_few_prompts_and_of_equal_ones(right):
    table = seen_so([(one, 200.0, 3.0, 100.0 + i // 3) for i, one in enumerate(right)])
    figures.answers(table), figures.conditions(table), figures.choice_times(played.choices(a_trace()))
    for metrics in ({}, {"test.accuracy": 0.9, "test.images": 100}):
        found = recognised.facts(table, "it", metrics)
        if right:
            assert len(figures.live_accuracy(found).axes) == 1 + bool(metrics)


# ------------------------------------------------------------------------------------ somebody else's traces


@pytest.mark.slow
def test_the_largest_trace_is_read_and_drawn_in_a_bounded_time():
    frames = [a_frame(10 * i, p=[0.2, 0.7, 0.1]) for i in range(30_000)]
    events = [
        START,
        *[move("player", 0, 0, "X........"), choice("row", 1), UNDONE, answer("happy", "sad")] * 4999,
    ]
    events = [(kind, more | ({"answer": "neutral"} if kind == "answer" else {})) for kind, more in events]
    with within(120):
        trace = a_trace(*events, frames=frames)
        games = played.games(trace)
        assert played.facts(trace)["choices"] == 4999 and not games  # every move was taken back
        table = recognised.prompts(trace)
        assert len(recognised.sentences(table, {"mix_accuracy": None})) == 3
        figures.conditions(table), figures.camera(trace)


def test_a_broken_trace_is_refused_before_anything_begins(capsys, results, tmp_path):
    missing = str(tmp_path / "none.json")
    assert commands.main(["run", "--preset", "smoke", "-p", f"trace={missing}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"fer: trace '{missing}': no such file") and len(said.splitlines()) == 1
    assert not list(results.glob("*"))


def test_a_trace_is_kept_by_its_place_among_the_runs(results, tmp_path, monkeypatch):
    inside = results / "a_run" / "game" / "trace_1.json"
    inside.parent.mkdir(parents=True)
    inside.write_text("{}")
    (tmp_path / "mine.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert paths.trace_name(str(inside)) == "a_run/game/trace_1.json"
    assert paths.trace_file("a_run/game/trace_1.json") == inside
    assert paths.trace_name("mine.json") == str(tmp_path / "mine.json")
    assert paths.trace_file(paths.trace_name("mine.json")) == tmp_path / "mine.json"
    (tmp_path / "example").mkdir()
    assert paths.trace_name("example") == "example" and traces.read(paths.trace_file("example"))["frames"]
    assert paths.trace_name("") == "" and "no such file" in refusal(paths.trace_file, "nowhere.json")


def test_a_game_can_be_added_to_a_run_that_is_there(capsys, results, face_folder):
    run = choose(train(face_folder))
    before = run.document
    for value, said in (("epochs=3", "but study and trace"), ("trace=none", "no such file")):
        assert commands.main(["run", "--resume", run.name, "-p", value]) == 2
        assert said in capsys.readouterr().err and run.document == before
    pipeline.add(run, {"trace": "example"})
    assert run.stages == ["exploration", "training", "overfitting", "evaluation", "game"]
    assert run.parameters("game").trace == "example"
    pipeline.add(run, {})
    assert run.document["parameters"] == before["parameters"] | {"game": {"trace": "example"}}


def test_the_committed_example_is_one_and_nobodys_face():
    trace = traces.read(paths.trace_file(paths.EXAMPLE))
    assert trace["network"]["keras_sha256"] == pretrained.facts()["sha256"]
    assert played.facts(trace)["script_sentence"] and len(recognised.prompts(trace)) == 30
    assert "frames" in copy.copy(trace) and "data:image" not in json.dumps(trace)
    with pytest.raises(UsageError, match="not a trace of the game"):
        traces.checked(trace | {"pictures": []}, "x")
