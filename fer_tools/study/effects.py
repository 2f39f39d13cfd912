"""What the parameters of a study did, whether chance could have done the same, and both in words."""

from collections.abc import Sequence
from io import BytesIO
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_lib.files import MEGABYTE, UsageError, read_regular
from fer_tools import checking, paths

if TYPE_CHECKING:
    import pandas as pd

LARGEST_TABLE = 64 * MEGABYTE  # 100,000 points have 30
COLUMNS = ("base", "state", "best_epoch", "onset_epoch", "val_accuracy", "val_loss", "parameters", "seconds")
LARGER, WITHIN = "larger than seed-to-seed variation", "indistinguishable from seed-to-seed variation"


def table(name: str) -> "pd.DataFrame":
    """Read the results of a study: one row per point and seed.

    Returns
    -------
    pandas.DataFrame
        run; the varied parameters, by name; seed; base (is it the base point?); state ("done", "failed",
        "waiting"); error; best_epoch, the one kept; onset_epoch of over-fitting; val_accuracy and val_loss at
        the epoch kept; parameters of the network; seconds; threads, of the processor.

    Raises
    ------
    UsageError
        If there is no such study, or its table is not one.
    """
    import pandas as pd

    path = paths.study_table(name)
    content = read_regular(path, LARGEST_TABLE)
    try:
        texts = pd.read_csv(BytesIO(content), dtype=str, keep_default_na=False)
        found = pd.read_csv(BytesIO(content)).assign(run=texts["run"], error=texts["error"])
        if lost := {"seed", *COLUMNS} - {*found.columns}:
            raise ValueError(f"no column {min(lost)!r}")
    except (ValueError, KeyError) as error:  # of pandas, too
        reason = " ".join(str(error).split())
        raise UsageError(f"{path}: not the table of a study ({reason}); restore it or run it anew") from error
    for column in varied(found):
        values = [checking.parse([f"{column}={text}"])[column] for text in texts[column]]
        values = [", ".join(value) if isinstance(value, list) else value for value in values]
        found[column] = pd.Series(values, dtype=object if None in values else None)  # None is a value, too
    return found


def facts(table: "pd.DataFrame") -> dict[str, Any]:
    """Count what was tried; return that, and accuracy and spread of the base."""
    base = of_base(table)
    return {
        "points": len(table.drop_duplicates(varied(table))),
        "runs": len(table),
        "seeds": table["seed"].nunique(),
        "done": len(done(table)),
        "failed": int((table["state"] == "failed").sum()),
        "hours": float(table["seconds"].sum() / 3600),
        "base_accuracy": float(base.mean()) if len(base) else None,
        "base_spread": float(base.std()) if len(base) > 1 else None,
    }


def done(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows of points that are trained."""
    return table[(table["state"] == "done").to_numpy()]


def of_base(table: "pd.DataFrame") -> "pd.Series":
    """Return the validation accuracies of the base, of each seed that is done."""
    rows = done(table)
    return rows.loc[rows["base"].to_numpy(bool), "val_accuracy"]


def varied(table: "pd.DataFrame") -> list[str]:
    """Return the names of the parameters that a study varies: the columns between run and seed."""
    columns = list(table.columns)
    return columns[columns.index("run") + 1 : columns.index("seed")]


def usual(table: "pd.DataFrame") -> dict[str, str]:
    """Return the varied parameters of the base, as text; none where a study of products has no base."""
    base = table[table["base"].to_numpy(bool)]
    return {name: str(base[name].iloc[0]) for name in varied(table)} if len(base) else {}


def alone(table: "pd.DataFrame", *names: str) -> "pd.DataFrame":
    """Return the rows that are done in which nothing but the named parameters differs from the base.

    A study of products alone may have no row of the base; then it is all rows that are done.
    """
    rows = done(table)
    for name, value in usual(table).items():
        if name not in names:
            rows = rows[rows[name].map(str) == value]
    return rows


def ordered(values: "pd.Series") -> list[Any]:
    """Return the different values of a parameter: numbers by size, None (all) last, texts by name."""
    different = {str(value): value for value in values}.values()
    return sorted(different, key=lambda v: (v is None, isinstance(v, str), v if v is not None else 0))


def grouped(table: "pd.DataFrame", name: str) -> list[tuple[Any, np.ndarray]]:
    """Return each value of a parameter, in order, and the accuracies (seeds,) of its rows of `alone`."""
    rows = alone(table, name)
    texts, accuracies = rows[name].map(str).to_numpy(), rows["val_accuracy"].to_numpy(float)
    return [(value, accuracies[texts == str(value)]) for value in ordered(rows[name])]


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

    groups = {name: grouped(table, name) for name in varied(table)}
    spread = _over_seeds(table)
    found = [
        {"parameter": k} | tested_difference(each, *spread) for k, each in groups.items() if len(each) > 1
    ]
    columns = ["parameter", "values", "best", "worst", "difference", "spread", "p", "verdict"]
    ranked = pd.DataFrame(found, columns=columns).sort_values(
        "difference", ascending=False, ignore_index=True
    )
    matters = ranked["p"] < 0.05 / max(len(ranked), 1)
    ranked["verdict"] = np.where(matters, f"matters: {LARGER}", WITHIN)
    ranked.loc[ranked["p"].isna(), "verdict"] = "one seed: cannot be told from chance"
    return ranked


def _over_seeds(table: "pd.DataFrame") -> tuple[float, int]:
    """Return the standard deviation over seeds, pooled over all points, and its degrees of freedom."""
    rows = done(table)
    points = rows.groupby([rows[name].map(str) for name in varied(table)])["val_accuracy"]
    degrees = len(rows) - points.ngroups
    squares = ((rows["val_accuracy"] - points.transform("mean")) ** 2).sum()
    return (float(np.sqrt(squares / degrees)) if degrees else np.nan), degrees


def tested_difference(groups: list[tuple[Any, np.ndarray]], spread: float, degrees: int) -> dict[str, Any]:
    """Return the row of `what_mattered` for one parameter: best and worst value, difference, p."""
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
    """Return what mattered and what did not, for a report: the rows of `what_mattered` in words."""
    matters = ranked["verdict"].str.startswith("matters")
    large = [
        f"{in_words(row.parameter)} ({100 * row.difference:.1f} points between {written(row.worst)} and "
        f"{written(row.best)})"
        for row in ranked[matters].itertuples()
    ]
    mattered = f"{LARGER.capitalize()}: {', '.join(large) or 'none of them'}."
    if ranked["verdict"].str.startswith("one seed").any():
        mattered = "With one seed per point, no difference can be told from chance."
    small = ", ".join(map(in_words, ranked.loc[~matters, "parameter"])) or "none of them"
    return {"mattered_sentence": mattered, "nothing_sentence": f"Within seed-to-seed variation: {small}."}


def crossed(table: "pd.DataFrame") -> list[tuple[str, str]]:
    """Return the pairs of parameters that were varied together: both differ from the base somewhere."""
    base = usual(table)
    found = []
    for pair in combinations(varied(table), 2):
        rows = alone(table, *pair)
        if np.all([rows[name].map(str) != base.get(name) for name in pair], axis=0).any():
            found.append(pair)
    return found


def interaction(table: "pd.DataFrame", a: str, b: str) -> dict[str, str]:
    """Return, as a sentence, whether the effect of a parameter depends on the value of another.

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
    names = [in_words(a), in_words(b)]

    def said(sentence: str) -> dict[str, str]:
        return {"crossed": ", ".join(names), "interaction_sentence": sentence}

    if min(cells.shape, default=0) < 2:
        return said(f"Too few combinations of {' and '.join(names)} are done.")
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
        return said(f"{verdict}; one seed per point cannot tell it from chance.")
    luck = _luck(cells.map(len).to_numpy().ravel(), degrees).reshape(-1, *cells.shape)
    p = np.mean(np.abs(_not_additive(luck)).max(axis=(1, 2)) * spread >= size)
    depends, told = ("depends", LARGER) if p < 0.05 else ("cannot be shown to depend", WITHIN)
    return said(f"What the {names[0]} does {depends} on the {names[1]}; {same}. {verdict}, {told}.")


def _complete(cells: "pd.DataFrame") -> "pd.DataFrame":
    """Leave out rows and columns, the emptiest first, until no cell is missing."""
    while cells.isna().to_numpy().any():
        missing = [cells.isna().mean(axis=axis) for axis in (0, 1)]  # of columns, of rows
        axis = int(missing[1].max() >= missing[0].max())
        cells = cells.drop(missing[axis].idxmax(), axis=1 - axis)
    return cells


def _not_additive(means: np.ndarray) -> np.ndarray:
    """Return what is left of means (..., rows, columns) without the effects of row and column."""
    rows, columns, all_ = (means.mean(axis, keepdims=True) for axis in (-1, -2, (-2, -1)))
    return means - rows - columns + all_


def ranking(table: "pd.DataFrame") -> "pd.DataFrame":
    """Rank the points by their mean accuracy on validation.

    Returns
    -------
    pandas.DataFrame
        point (what differs from the base), accuracy (mean over seeds), spread (standard deviation), seeds,
        parameters of the network, minutes a run; the best first.
    """
    rows, base = done(table), usual(table)
    other = [
        [f"{in_words(k)} {written(row[k])}" for k in varied(table) if str(row[k]) != base.get(k)]
        for row in rows.to_dict("records")
    ]
    points = rows.assign(point=[", ".join(words) or "base" for words in other], minutes=rows["seconds"] / 60)
    ranked = points.groupby("point", sort=False).agg(
        accuracy=("val_accuracy", "mean"),
        spread=("val_accuracy", "std"),
        seeds=("seed", "size"),
        parameters=("parameters", "first"),
        minutes=("minutes", "mean"),
    )
    ranked = ranked.reset_index().astype({"parameters": int})
    return ranked.sort_values("accuracy", ascending=False, ignore_index=True, kind="stable")


def readable(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table of this module as a report shows it: shares in per cent, differences in points."""

    def points(value: float) -> str:
        return f"{100 * value:.1f}" if value == value else ""

    formats = {"difference": points, "spread": points, "accuracy": lambda value: f"{points(value)} %"}
    formats |= {"minutes": "{:.1f}".format, "parameters": "{:,}".format}
    shown = frame.drop(columns="p", errors="ignore").apply(lambda c: c.map(formats.get(c.name, written)))
    return shown.rename(columns={name: f"{name}, points" for name in ("difference", "spread")})


def written(value: Any) -> str:
    """Return a parameter's value in short: 0.3, 1e-4, all."""
    if isinstance(value, float) and 0 < value == float(f"{value:.0e}") < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    if isinstance(value, float):
        return f"{value:g}"
    return "all" if value is None else str(value).replace("_", " ")


def in_words(name: str) -> str:
    """Return the name of a parameter as a reader sees it."""
    return name.replace("_", " ")
