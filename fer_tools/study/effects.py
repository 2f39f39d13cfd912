"""What the parameters of a study did, whether chance could have done the same, and figures of both."""

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_tools import checking, paths

if TYPE_CHECKING:
    import pandas as pd


def table(name: str) -> "pd.DataFrame":
    """Read the results of a study: a row a point and seed.

    Returns
    -------
    pandas.DataFrame
        run; the varied parameters, by name; seed; base (is it the base point?); state ("done", "failed",
        "waiting"); error; best_epoch, the one kept; onset_epoch of over-fitting; val_accuracy and val_loss at
        the epoch kept; parameters of the network; seconds; threads, of the processor.

    Raises
    ------
    UsageError
        If there is no such study.
    """
    import pandas as pd

    path = paths.study_table(name)
    found = pd.read_csv(path, dtype={"error": str, "run": str})
    texts = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in varied(found):  # None is a value, too
        values = [checking.parse([f"{column}={text}"])[column] for text in texts[column]]
        values = [", ".join(value) if isinstance(value, list) else value for value in values]
        found[column] = pd.Series(values, dtype=object)
        if None not in values:
            found[column] = found[column].infer_objects()
    found[["run", "error"]] = texts[["run", "error"]]
    return found


def facts(table: "pd.DataFrame") -> dict[str, Any]:
    """Count what was tried, and give accuracy and spread of the base."""
    base = of_base(table)
    counts = {
        "points": len(table.drop_duplicates(varied(table))),
        "runs": len(table),
        "seeds": table["seed"].nunique(),
        "done": int((table["state"] == "done").sum()),
        "failed": int((table["state"] == "failed").sum()),
        "hours": float(table["seconds"].sum() / 3600),
    }
    spread = float(base.std()) if len(base) > 1 else None
    return counts | {"base_accuracy": float(base.mean()) if len(base) else None, "base_spread": spread}


def of_base(table: "pd.DataFrame") -> "pd.Series":
    """Give the validation accuracies of the base, of each seed that is done."""
    return table.loc[(table["state"] == "done") & table["base"], "val_accuracy"]


def varied(table: "pd.DataFrame") -> list[str]:
    """Names of the parameters that a study varies: the columns between run and seed."""
    columns = list(table.columns)
    return columns[columns.index("run") + 1 : columns.index("seed")]


def alone(table: "pd.DataFrame", *names: str) -> "pd.DataFrame":
    """Give the rows that are done in which nothing but the named parameters differs from the base.

    A study of products alone may have no row of the base; then it is all rows that are done.
    """
    done = table[(table["state"] == "done").to_numpy()]
    base = table[table["base"].to_numpy(bool)]
    others = [name for name in varied(table) if name not in names]
    for name in others if len(base) else ():
        done = done[done[name].map(str) == str(base[name].iloc[0])]
    return done


def ordered(values: "pd.Series") -> list[Any]:
    """Give the different values of a parameter: numbers by size, None (all of them) last, texts by name."""
    different = {str(value): value for value in values}.values()
    return sorted(different, key=lambda v: (v is None, isinstance(v, str), v if v is not None else 0))


def grouped(table: "pd.DataFrame", name: str) -> list[tuple[Any, np.ndarray]]:
    """Give each value of a parameter, in order, and the accuracies (seeds,) of its rows of `alone`."""
    rows = alone(table, name)
    return [
        (value, rows.loc[(rows[name].map(str) == str(value)).to_numpy(), "val_accuracy"].to_numpy(float))
        for value in ordered(rows[name])
    ]


def what_mattered(table: "pd.DataFrame") -> "pd.DataFrame":
    """Rank the varied parameters by what they did to validation accuracy, measured against chance.

    For each, the rows of `alone` are grouped by its value. The difference between the best and the worst mean
    is compared with the standard deviation over seeds: how often would k means of as many seeds lie as far
    apart if the parameter did nothing? That is Tukey's studentised range, simulated here for groups of
    unequal size. The deviation is taken to be the same at all points and is pooled over them, for a few seeds
    of one point say little. Parameters are tested together, so one "matters" only below 0.05 divided by their
    number (Bonferroni).

    Parameters
    ----------
    table : pandas.DataFrame
        Of `effects.table`.

    Returns
    -------
    pandas.DataFrame
        parameter, values (how many), best, worst, difference (of mean accuracies), spread (standard deviation
        over seeds), p, verdict; the largest difference first.

    Source: Tukey (1949), Comparing individual means in the analysis of variance, Biometrics 5(2).
    """
    import pandas as pd

    found, spread = [], _over_seeds(table)
    for name in varied(table):
        groups = grouped(table, name)
        if len(groups) > 1:
            found.append({"parameter": name} | _difference(groups, *spread))
    ranked = pd.DataFrame(
        found, columns=["parameter", "values", "best", "worst", "difference", "spread", "p"]
    )
    ranked = ranked.sort_values("difference", ascending=False, ignore_index=True)
    limit = 0.05 / max(len(ranked), 1)
    ranked["verdict"] = [
        "one seed: cannot be told from chance"
        if np.isnan(p)
        else "matters: seeds alone would hardly differ so much"
        if p < limit
        else "not to be told from the difference between seeds"
        for p in ranked["p"]
    ]
    return ranked


def _over_seeds(table: "pd.DataFrame") -> tuple[float, int]:
    """Give the standard deviation over seeds, pooled over all points, and its degrees of freedom."""
    done = table[(table["state"] == "done").to_numpy()]
    points = done.groupby([done[name].map(str) for name in varied(table)])["val_accuracy"]
    degrees = len(done) - points.ngroups
    squares = ((done["val_accuracy"] - points.transform("mean")) ** 2).sum()
    return (float(np.sqrt(squares / degrees)) if degrees else np.nan), degrees


def _difference(groups: list[tuple[Any, np.ndarray]], spread: float, degrees: int) -> dict[str, Any]:
    means = [accuracies.mean() for _, accuracies in groups]
    difference = max(means) - min(means)
    noise = _luck([len(accuracies) for _, accuracies in groups], degrees)
    return {
        "values": len(groups),
        "best": groups[int(np.argmax(means))][0],
        "worst": groups[int(np.argmin(means))][0],
        "difference": difference,
        "spread": spread,
        "p": float(np.mean(np.ptp(noise, axis=1) * spread >= difference)) if degrees else np.nan,
    }


def _luck(sizes: Sequence[int] | np.ndarray, degrees: int, trials: int = 50_000) -> np.ndarray:
    """Simulate means (trials, groups) of so many seeds each, in units of a deviation known that well only."""
    rng = np.random.default_rng(0)
    means = rng.standard_normal((trials, len(sizes))) / np.sqrt(sizes)
    return means / np.sqrt(rng.chisquare(max(degrees, 1), (trials, 1)) / max(degrees, 1))


def sentences(ranked: "pd.DataFrame") -> dict[str, str]:
    """Say what mattered and what did not, for a report: the rows of `what_mattered` in words."""

    def named(rows: "pd.DataFrame", with_size: bool) -> str:
        said = [
            f"{row.parameter.replace('_', ' ')}"
            + f" ({100 * row.difference:.1f} points between {written(row.worst)} and {written(row.best)})"
            * with_size
            for row in rows.itertuples()
        ]
        return ", ".join(said) or "none of them"

    matters = ranked["verdict"].str.startswith("matters")
    one_seed = ranked["verdict"].str.startswith("one seed").any()
    return {
        "mattered_sentence": f"More than seeds can explain did: {named(ranked[matters], True)}."
        if not one_seed
        else "With one seed a point, no difference can be told from chance.",
        "nothing_sentence": f"Not to be told from the luck of the seed: {named(ranked[~matters], False)}.",
    }


def crossed(table: "pd.DataFrame") -> list[tuple[str, str]]:
    """Give the pairs of parameters that were varied together: both are other than in the base somewhere."""
    base = table[table["base"].to_numpy(bool)]
    found = []
    for a, b in combinations(varied(table), 2):
        rows = alone(table, a, b)
        other = [~rows[name].map(str).isin(base[name].map(str)) for name in (a, b)]
        if (other[0] & other[1]).any():
            found.append((a, b))
    return found


def interaction(table: "pd.DataFrame", a: str, b: str) -> dict[str, Any]:
    """Tell whether what a parameter does depends on the value of another, or on luck alone.

    Were the two independent, each mean would be the sum of a row's and a column's effect. The largest
    deviation from such sums is compared with those that the spread over seeds makes by chance (simulated).
    Only combinations of which no cell is missing take part.

    Returns
    -------
    dict
        a and b, and for a report the sentence.
    """
    rows = alone(table, a, b)
    cells = rows.groupby([rows[name].map(written) for name in (a, b)])["val_accuracy"].apply(np.array)
    cells = _complete(cells.unstack())
    names = [name.replace("_", " ") for name in (a, b)]
    found = {"crossed": ", ".join(names)}
    if min(cells.shape, default=0) < 2:
        return found | {"interaction_sentence": f"Too few combinations of {' and '.join(names)} are done."}
    means = cells.map(np.mean).to_numpy(float)
    best = list(cells.index[means.argmax(axis=0)])  # of `a`, for each value of `b`
    where = (f"{x} where {names[1]} is {y}" for x, y in zip(best, cells.columns, strict=True))
    alike = len(set(best)) == 1
    same = f"it is best at {best[0]} whatever the {names[1]}" if alike else f"best: {', '.join(where)}"
    size = float(np.abs(_not_additive(means)).max())
    digits = 1 if size > 0.0005 else 2
    verdict = f"The largest deviation from a sum of two effects is {100 * size:.{digits}f} points"
    spread, degrees = _over_seeds(table)
    if not degrees:
        return found | {"interaction_sentence": f"{verdict}; one seed a point cannot tell it from chance."}
    luck = _luck(cells.map(len).to_numpy().ravel(), degrees).reshape(-1, *cells.shape)
    p = np.mean(np.abs(_not_additive(luck)).max(axis=(1, 2)) * spread >= size)
    told = "more than seeds can explain" if p < 0.05 else "not to be told from the difference between seeds"
    depends = "depends" if p < 0.05 else "cannot be shown to depend"
    sentence = f"What the {names[0]} does {depends} on the {names[1]}; {same}. {verdict}, {told}."
    return found | {"interaction_sentence": sentence}


def _complete(cells: "pd.DataFrame") -> "pd.DataFrame":
    """Leave out rows and columns, the emptiest first, until no cell is missing."""
    while cells.isna().to_numpy().any():
        missing = [cells.isna().mean(axis=axis) for axis in (0, 1)]  # of columns, of rows
        axis = int(missing[1].max() >= missing[0].max())
        cells = cells.drop(missing[axis].idxmax(), axis=1 - axis)
    return cells


def _not_additive(means: np.ndarray) -> np.ndarray:
    """Give what is left of means (..., rows, columns) without the effects of row and column."""
    return (
        means
        - means.mean(axis=-1, keepdims=True)
        - means.mean(axis=-2, keepdims=True)
        + means.mean(axis=(-2, -1), keepdims=True)
    )


def ranking(table: "pd.DataFrame") -> "pd.DataFrame":
    """Rank the points by their mean accuracy on validation.

    Returns
    -------
    pandas.DataFrame
        point (what differs from the base), accuracy (mean over seeds), spread (standard deviation), seeds,
        parameters of the network, minutes a run; the best first.
    """
    import pandas as pd

    names = varied(table)
    done = table[(table["state"] == "done").to_numpy()]
    base = table[table["base"].to_numpy(bool)]
    usual = {name: str(base[name].iloc[0]) for name in names} if len(base) else {}
    found = []
    for _, rows in done.groupby([done[name].map(str) for name in names], sort=False):
        own = {name: rows[name].iloc[0] for name in names if str(rows[name].iloc[0]) != usual.get(name)}
        found.append(
            {
                "point": ", ".join(f"{name.replace('_', ' ')} {written(v)}" for name, v in own.items())
                or "base",
                "accuracy": rows["val_accuracy"].mean(),
                "spread": rows["val_accuracy"].std(),
                "seeds": len(rows),
                "parameters": int(rows["parameters"].iloc[0]),
                "minutes": rows["seconds"].mean() / 60,
            }
        )
    columns = ["point", "accuracy", "spread", "seeds", "parameters", "minutes"]
    ranked = pd.DataFrame(found, columns=columns)
    return ranked.sort_values("accuracy", ascending=False, ignore_index=True, kind="stable")


def readable(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Write a table of this module as a report shows it: shares in per cent, differences in points."""
    units = {"accuracy": " %", "difference": "", "spread": ""}
    shown = frame.drop(columns="p", errors="ignore").copy()
    for name in shown.columns:
        if name in units:
            shown[name] = [f"{100 * v:.1f}{units[name]}" if v == v else "" for v in shown[name]]
        elif name == "minutes":
            shown[name] = [f"{v:.1f}" for v in shown[name]]
        else:
            shown[name] = [
                f"{v:,}" if name == "parameters" and isinstance(v, int) else written(v) for v in shown[name]
            ]
    return shown.rename(columns={name: f"{name}, points" for name in units if not units[name]})


def written(value: Any) -> str:
    """Write a parameter's value shortly: 0.3, 1e-4, all."""
    if isinstance(value, float) and 0 < value == float(f"{value:.0e}") < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    if isinstance(value, float):
        return f"{value:g}"
    return "all" if value is None else str(value).replace("_", " ")
