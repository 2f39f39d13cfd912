"""What a study's table says: rows of one parameter alone, what mattered, and its figures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from asserting import refusal, within

from fer_lib.figures import style
from fer_lib.files import ROOT
from fer_tools.study import effects, figures

BASE = {"learning_rate": 1e-3, "dropout": 0.3, "train_samples": 5000, "schedule": "constant"}
POINTS = [
    *({"learning_rate": value} for value in (1e-4, 3e-4, 3e-3, 1e-2)),
    *({"dropout": value} for value in (0.0, 0.5)),
    *({"train_samples": value} for value in (300, 1000, None)),
    {"schedule": "cosine"},
    *({"learning_rate": rate, "dropout": drop} for rate in (3e-4, 3e-3) for drop in (0.0, 0.5)),
]


def fake(seeds: int = 3, effect: float = 0.1) -> pd.DataFrame:
    """Make a table in which the learning rate has an effect, training images have some, and nothing else."""
    rng = np.random.default_rng(0)
    rows = []
    for point in [{}, *POINTS]:
        values = BASE | point
        mean = 0.75 - effect * abs(np.log10(values["learning_rate"] / 1e-3))
        mean -= {300: 0.1, 1000: 0.05}.get(values["train_samples"], 0) * effect / 0.1
        for seed in range(seeds):
            row = {"run": f"r{len(rows)}"} | values | {"seed": seed, "base": not point, "state": "done"}
            rows.append(row | {"error": "", "val_accuracy": mean + rng.normal(0, 0.01)})
    rows[1] |= {"state": "failed", "val_accuracy": np.nan}
    return pd.DataFrame(rows)


@pytest.fixture
def table() -> pd.DataFrame:
    frame = fake()
    frame["train_samples"] = frame["train_samples"].astype(object).where(frame["train_samples"].notna(), None)
    return frame


def test_alone_is_what_differs_in_that_only(table):
    assert effects.varied(table) == list(BASE)
    rows = effects.alone(table, "dropout")
    assert set(rows["learning_rate"]) == {1e-3} and len(rows) == 8  # 3 values, 3 seeds, one failed
    assert len(effects.alone(table, "dropout", "learning_rate")) == 32
    product = table[table["run"].isin([f"r{i}" for i in range(33, 45)])]
    assert len(effects.alone(product, "dropout")) == 12  # no row of the base: all of the product


def test_values_are_in_order(table):
    assert effects.ordered(table["train_samples"]) == [300, 1000, 5000, None]
    assert effects.ordered(table["learning_rate"]) == [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
    assert effects.ordered(table["schedule"]) == ["constant", "cosine"]


def test_what_mattered_is_told_from_what_did_not(table):
    ranked = effects.what_mattered(table).set_index("parameter")
    assert list(ranked.index[:2]) == ["learning_rate", "train_samples"]
    assert ranked.loc["learning_rate", ["best", "worst", "values"]].tolist()[0] == 1e-3
    assert ranked["difference"].between(0, 0.12).all() and ranked["spread"].between(0.002, 0.03).all()
    assert list(ranked["verdict"].str.startswith("matters")) == [True, True, False, False]
    one = effects.what_mattered(table[table["seed"] == 0])
    assert one["verdict"].str.startswith("one seed").all() and one["p"].isna().all()


def test_where_nothing_has_an_effect_chance_is_seldom_taken_for_one():
    """The p-value is one: below 0.05 in five of a hundred studies in which the parameter does nothing."""
    rng, small = np.random.default_rng(1), 0
    for _ in range(100):
        rows = [
            {"run": "", "x": x, "y": y, "seed": seed, "base": x == y == 0, "state": "done",
             "val_accuracy": rng.normal(0.7, 0.02)}
            for x, y in ((0, 0), (1, 0), (2, 0), (3, 0), (0, 1)) for seed in range(2 + (x != 2))
        ]  # fmt: skip
        small += effects.what_mattered(pd.DataFrame(rows)).set_index("parameter").loc["x", "p"] < 0.05
    assert 1 <= small <= 12


def study(points, seeds, by_seed=0.03, noise=0.02, rng=None, **effects_of_x):
    """Make a table of `points` (x, y) in which a seed adds the same to all of them, and x adds its effect."""
    rng = rng or np.random.default_rng(3)
    added = rng.normal(0, by_seed, len(seeds))
    return pd.DataFrame(
        {"run": "", "x": x, "y": y, "seed": seed, "base": x == y == 0, "state": "done",
         "val_accuracy": 0.7 + effects_of_x.get(f"x{x}", 0) + added[i] + rng.normal(0, noise)}
        for x, y in points for i, seed in enumerate(seeds)
    )  # fmt: skip


ALONE = ((0, 0), (1, 0), (2, 0), (0, 1), (0, 2))


def fitted(table):
    """Statsmodels' analysis of variance of a table: accuracy by point and seed, without interaction."""
    formula = pytest.importorskip("statsmodels.formula.api")
    named = table.assign(point=table["x"].map("x{}".format) + table["y"].map("y{}".format))
    return formula.ols("val_accuracy ~ C(point) + C(seed)", named).fit()


def test_with_every_seed_it_is_tukey_s_range_of_statsmodels_residual():
    stats = pytest.importorskip("scipy.stats")
    table = study(ALONE, range(4), x1=0.03)
    found = effects.what_mattered(table).set_index("parameter")
    model = fitted(table)
    assert found["spread"].tolist() == pytest.approx([np.sqrt(model.mse_resid)] * 2)
    for name, other in (("x", "y"), ("y", "x")):
        means = table[table[other] == 0].groupby(name)["val_accuracy"].mean()
        assert found.loc[name, "difference"] == pytest.approx(np.ptp(means))
        q = np.ptp(means) / np.sqrt(model.mse_resid / 4)
        assert found.loc[name, "p"] == pytest.approx(
            stats.studentized_range.sf(q, 3, model.df_resid), abs=0.01
        )
        assert (found.loc[name, "best"], found.loc[name, "worst"]) == (means.idxmax(), means.idxmin())


def test_two_values_are_compared_in_pairs():
    """With one parameter of two values this is the paired t-test, seed by seed."""
    stats = pytest.importorskip("scipy.stats")
    table = study(((0, 0), (1, 0)), range(5), by_seed=0.15, x1=0.08).assign(y=0)
    of = {x: table.loc[table["x"] == x, "val_accuracy"].to_numpy() for x in (0, 1)}
    p = effects.what_mattered(table).set_index("parameter").loc["x", "p"]
    assert p == pytest.approx(stats.ttest_rel(of[0], of[1]).pvalue, abs=0.01)
    assert stats.ttest_ind(of[0], of[1]).pvalue > 0.2 > 0.05 > p  # what it would be without the pairs


def test_seeds_that_are_missing_are_allowed_for_and_said():
    """Base and point lack different seeds: the adjusted difference is statsmodels'."""
    table = study(ALONE, range(4), by_seed=0.2, noise=0.01)
    lost = ((table["x"] == 1) & (table["seed"] == 0)) | (table["base"] & (table["seed"] == 3))
    table.loc[lost, ["state", "val_accuracy"]] = ["failed", np.nan]
    two = table[table["x"] != 2]
    model = fitted(two[two["state"] == "done"])
    contrast = model.t_test("C(point)[T.x1y0] = 0")
    found = effects.what_mattered(two).set_index("parameter").loc["x"]
    assert found["difference"] == pytest.approx(abs(contrast.effect.item()))
    assert found["spread"] == pytest.approx(np.sqrt(model.mse_resid))
    assert found["p"] == pytest.approx(contrast.pvalue.item(), abs=0.01)
    raw = two[two["y"] == 0].groupby("x")["val_accuracy"].mean()
    assert abs(np.ptp(raw) - found["difference"]) > 0.05
    sentence = effects.facts(two.assign(seconds=1.0))["blocks_sentence"]
    assert sentence.startswith("2 of 4 points lack a seed that others have: differences are adjusted")
    assert effects.blocks_sentence(study(ALONE, range(2))) == "Every point is done with every seed."
    assert effects.blocks_sentence(study(ALONE, [5])) == "No point is done with several seeds."


def test_points_without_a_seed_in_common_are_not_compared():
    table = study(ALONE, range(4))
    table = table[
        (table["x"] == 1) == (table["seed"] > 1)
    ]  # x = 1 with seeds 2 and 3 alone, the rest without
    found = effects.what_mattered(table).set_index("parameter")
    assert found.loc["x", "verdict"] == "no seed in common: cannot be told from chance"
    assert 0 <= found.loc["y", "p"] <= 1
    assert effects.sentences(effects.what_mattered(table))["nothing_sentence"] == (
        "Within seed-to-seed variation: y. Not to be told, for values have no seed in common: x."
    )


def test_an_effect_is_found_as_often_as_it_should_and_a_seed_is_none():
    """Seeds shift all points; no effect: 5 of 100. Five points of effect: much more often than unpaired."""
    stats = pytest.importorskip("scipy.stats")
    rng, nothing, something, unpaired = np.random.default_rng(4), 0, 0, 0
    least = stats.studentized_range.isf(0.05, 3, 6)  # of Tukey's test of three values, of three seeds each
    for _ in range(150):
        none = study(ALONE, range(3), rng=rng)
        some = none.assign(val_accuracy=none["val_accuracy"] + 0.05 * (none["x"] == 1))
        nothing += effects.what_mattered(none).set_index("parameter").loc["x", "p"] < 0.05
        something += effects.what_mattered(some).set_index("parameter").loc["x", "p"] < 0.05
        each = np.array([some.loc[(some["x"] == x) & (some["y"] == 0), "val_accuracy"] for x in (0, 1, 2)])
        assert each.shape == (3, 3)
        unpaired += np.ptp(each.mean(axis=1)) / np.sqrt(each.var(axis=1, ddof=1).mean() / 3) > least
    print(f"of 150 studies: no effect found in {nothing}, a true one in {something}, unpaired in {unpaired}")
    assert 2 <= nothing <= 15 and something > 75 and something > 2 * unpaired


@pytest.mark.parametrize(
    ("study", "matter"),
    [
        ("section6", ["convolutions", "model", "epochs", "dropout"]),
        ("taught", ["epochs", "teacher", "model"]),
    ],
)
def test_what_matters_in_the_committed_studies(study, matter, monkeypatch):
    """And p is that of statsmodels, where each parameter has two values."""
    stats, formula = map(pytest.importorskip, ("scipy.stats", "statsmodels.formula.api"))
    monkeypatch.setenv("FER_RESULTS", str(ROOT / "results"))
    table = effects.table(study)
    names = effects.varied(table)
    table["point"] = table[names].astype(str).agg(" ".join, axis=1)
    model = formula.ols("val_accuracy ~ C(point) + C(seed)", table).fit()
    ranked = effects.what_mattered(table.drop(columns="point")).set_index("parameter")
    assert {*ranked.index} == {*names} - {"label_smoothing"}  # with others only
    for name in ranked.index:
        alone = effects.alone(table.drop(columns="point"), name).join(table["point"])
        means = alone.groupby("point")["val_accuracy"].mean()  # of two seeds each
        t = (means.max() - means.min()) / np.sqrt(model.mse_resid)
        assert ranked.loc[name, "p"] == pytest.approx(2 * stats.t.sf(t, model.df_resid), abs=0.005)
    assert list(ranked.index[ranked["verdict"].str.startswith("matters")]) == matter
    assert (ranked["p"] < 0.05 / len(ranked)).sum() == len(matter)


def test_figures_show_every_seed_and_mark_the_base(table, tmp_path):
    figure = figures.effects(table)
    shown = [ax for ax in figure.axes if ax.get_title(loc="left")]
    assert [ax.get_title(loc="left") for ax in shown] == [
        "learning rate",
        "dropout",
        "train samples",
        "schedule",
    ]
    assert [label.get_text() for label in shown[2].get_xticklabels()] == ["300", "1000", "5000", "all"]
    bold = [[t.get_text() for t in ax.get_xticklabels() if t.get_weight() == "bold"] for ax in shown]
    assert bold == [["0.001"], ["0.3"], ["5000"], ["constant"]]
    dots = sum(len(c.get_offsets()) for c in shown[1].collections if len(c.get_offsets()) > 1)
    assert dots == 8
    style.save(figure, tmp_path / "effects")
    assert len(figures.effects(table, ["dropout"]).axes) == 1

    heat = figures.heat_map(table, "learning_rate", "dropout")
    cells = [text.get_text() for text in heat.axes[0].texts]
    rows = table[(table.learning_rate == 3e-3) & (table.dropout == 0.5)]["val_accuracy"]
    assert f"{100 * rows.mean():.1f} %\n± {100 * rows.std():.1f}" in cells
    assert sum("±" in cell for cell in cells) == len(cells) == 11  # of 5 rates x 3: four were not run
    style.save(heat, tmp_path / "interaction")


def test_one_seed_and_one_value_are_drawn(table):
    one = table[table["seed"] == 0]
    assert figures.effects(one, ["schedule"]).axes
    assert "±" not in "".join(
        text.get_text() for text in figures.heat_map(one, "dropout", "schedule").axes[0].texts
    )


def test_pairs_that_were_crossed_are_found_and_told(table):
    assert effects.crossed(table) == [("learning_rate", "dropout")]
    said = effects.interaction(table, "learning_rate", "dropout")
    assert said["crossed"] == "learning rate, dropout"
    assert "cannot be shown to depend on the dropout" in said["interaction_sentence"]
    assert "best at 0.001 whatever the dropout" in said["interaction_sentence"]
    opposite = table.copy()
    twisted = (opposite["dropout"] == 0.5) & (opposite["learning_rate"] == 3e-3)
    opposite.loc[twisted, "val_accuracy"] += 0.2
    sentence = effects.interaction(opposite, "learning_rate", "dropout")["interaction_sentence"]
    assert "does depends on the dropout" in sentence and "0.003 where dropout is 0.5" in sentence
    assert "points, larger than seed-to-seed variation" in sentence
    one = effects.interaction(opposite[opposite["seed"] == 0], "learning_rate", "dropout")
    assert "one seed per point" in one["interaction_sentence"]
    few = opposite[~twisted]
    few = few[few["learning_rate"].isin([1e-3, 3e-3]) & few["dropout"].isin([0.3, 0.5])]
    assert "Too few" in effects.interaction(few, "learning_rate", "dropout")["interaction_sentence"]


def test_where_effects_add_up_an_interaction_is_seldom_found():
    """One study in twenty, or so, though the two parameters do something each."""
    rng, told = np.random.default_rng(2), 0
    for _ in range(60):
        rows = [
            {"run": "", "x": x, "y": y, "seed": seed, "base": x == y == 0, "state": "done",
             "val_accuracy": 0.6 + 0.05 * x + 0.1 * y + rng.normal(0, 0.02)}
            for x in (0, 1, 2) for y in (0, 1) for seed in (0, 1, 2)
        ]  # fmt: skip
        sentence = effects.interaction(pd.DataFrame(rows), "x", "y")["interaction_sentence"]
        told += "larger than seed-to-seed" in sentence
    assert told <= 9


def test_what_seeds_do_to_all_cells_hides_no_interaction():
    """The same numbers with large effects of seeds: the sentence is the same."""
    cells = [(x, y) for x in (0, 1, 2) for y in (0, 1)]
    calm, wild = (study(cells, range(3), by_seed=by, rng=np.random.default_rng(6)) for by in (0, 0.3))
    for table in (calm, wild):
        table["val_accuracy"] += 0.08 * ((table["x"] == 2) & (table["y"] == 1))
    said = {effects.interaction(table, "x", "y")["interaction_sentence"] for table in (calm, wild)}
    assert len(said) == 1 and "does depends on" in said.pop()


def test_facts_and_ranking(table):
    table = table.assign(parameters=118_531, seconds=90.0)
    facts = effects.facts(table)
    assert (facts["points"], facts["runs"], facts["seeds"], facts["failed"]) == (15, 45, 3, 1)
    assert facts["hours"] == pytest.approx(45 * 90 / 3600)
    base = table.loc[table["base"] & (table["state"] == "done"), "val_accuracy"]
    assert facts["base_accuracy"] == pytest.approx(base.mean())
    ranked = effects.ranking(table)
    assert len(ranked) == 15 and ranked["accuracy"].is_monotonic_decreasing
    assert "base" in set(ranked["point"]) and "learning rate 0.003, dropout 0.5" in set(ranked["point"])
    assert ranked.set_index("point").loc["base", "seeds"] == 2  # one failed
    assert ranked["minutes"].eq(1.5).all()


def test_what_a_report_says_is_what_was_found(table):
    said = effects.sentences(effects.what_mattered(table))
    assert "learning rate" in said["mattered_sentence"] and "points between" in said["mattered_sentence"]
    assert said["mattered_sentence"].startswith("Larger than seed-to-seed variation: ")
    assert said["nothing_sentence"] in (
        "Within seed-to-seed variation: dropout, schedule.",
        "Within seed-to-seed variation: schedule, dropout.",
    )
    one = effects.sentences(effects.what_mattered(table[table["seed"] == 0]))
    assert "no difference can be told from chance" in one["mattered_sentence"]
    shown = effects.readable(effects.what_mattered(table))
    assert shown["difference, points"].str.fullmatch(r"\d+\.\d").all() and "p" not in shown


def test_a_value_that_is_no_text_at_all_is_none(tmp_path, monkeypatch):
    """As `teacher`, which is empty where none teaches; in a table read back from its file."""
    made = study([(0, 0), (1, 0), (0, 1), (1, 1)], range(3), x1=0.3)
    names = {"x": ("teacher", ["shipped", ""]), "y": ("model", ["optimized_model", "small_model"])}
    for column, (name, values) in names.items():
        made[column] = made[column].map(dict(enumerate(values)))
        made = made.rename(columns={column: name})
    monkeypatch.setenv("FER_RESULTS", str(tmp_path))
    (tmp_path / "own_study").mkdir()
    made.assign(error="", best_epoch=1, onset_epoch="", val_loss=0.5, parameters=3, seconds=1.0).to_csv(
        tmp_path / "own_study" / "results.csv", index=False
    )
    table = effects.table("own")
    ranked = effects.what_mattered(table).set_index("parameter")
    assert ranked.loc["teacher", ["best", "worst"]].tolist() == ["", "shipped"]
    said = effects.sentences(ranked.reset_index())["mattered_sentence"]
    assert "teacher (" in said and "points between shipped and none)" in said
    assert set(effects.ranking(table)["point"]) == {
        *("base", "teacher none", "model small model", "teacher none, model small model")
    }
    assert effects.crossed(table) == [("teacher", "model")]


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (lambda path: path.write_text(""), "not the table of a study"),
        (lambda path: path.write_text("a,b\n1,2\n"), "not the table of a study"),
        (lambda path: path.write_text("run,seed,error\n1,2,3\n"), "no column 'base'"),
        (lambda path: path.write_bytes(b"\xff\xfe\0run"), "not the table of a study"),
        (lambda path: path.write_text('run,"seed\n'), "not the table of a study"),
        (lambda path: path.symlink_to(__file__), "a link, not a regular file"),
        (lambda path: hole(path), "1,048,576 MB, more than the 64"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, monkeypatch, put, said):
    monkeypatch.setenv("FER_RESULTS", str(tmp_path))
    path = tmp_path / "some_study" / "results.csv"
    path.parent.mkdir()
    put(path)
    with within(20):
        message = refusal(effects.table, "some")
    assert str(path) in message and said in message


def hole(path: Path) -> None:
    with open(path, "wb") as handle:
        handle.truncate(1 << 40)
