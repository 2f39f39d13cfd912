"""What the parameters of a study did, whether chance could have done the same, and both in words."""

from collections.abc import Sequence
from dataclasses import dataclass
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
ONE_SEED, UNTOLD = "one seed: cannot be told from chance", "no seed in common: cannot be told from chance"


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
        "blocks_sentence": blocks_sentence(table),
    }


def blocks_sentence(table: "pd.DataFrame") -> str:
    """Return, for a report, whether every point is done with every seed, and what is made of it."""
    rows = done(table)
    seeds, points = rows["seed"].nunique(), _points(rows)
    fewer = int((rows.groupby(points)["seed"].nunique() < seeds).sum()) if len(rows) else 0
    if seeds < 2:
        return "No point is done with several seeds."
    if not fewer:
        return "Every point is done with every seed."
    return (
        f"{fewer} of {points.nunique()} points {'lacks' if fewer == 1 else 'lack'} a seed that others have: "
        "differences are adjusted for it by least squares, means in figures and in the ranking are not."
    )


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


def grouped(table: "pd.DataFrame", name: str) -> list[tuple[Any, "pd.Series"]]:
    """Return each value of a parameter, in order, and the accuracies of its rows of `alone`."""
    rows = alone(table, name)
    texts = rows[name].map(str)
    return [(value, rows.loc[texts == str(value), "val_accuracy"]) for value in ordered(rows[name])]


def what_mattered(table: "pd.DataFrame") -> "pd.DataFrame":
    """Rank the varied parameters by what they did to validation accuracy, measured against chance.

    A seed draws the sample, the validation images, the first weights and the order for all points alike: it
    is a block. So an accuracy is taken as the sum of what its point and what its seed does, fitted by least
    squares to all points (a two-way analysis of variance without interaction; with two values and all seeds,
    a parameter's difference is that of pairs). For each parameter the rows of `alone` are grouped by its
    value, and the difference between the best and the worst mean is compared with the scatter that is left:
    how often would k such means lie as far apart if the parameter did nothing? That is Tukey's studentised
    range, simulated here, for seeds may be missing. The scatter is taken to be the same at all points and is
    pooled over them, for a few seeds of one point say little. Parameters are tested together, so one
    "matters" only below 0.05 divided by their number (Bonferroni).

    Parameters
    ----------
    table : pandas.DataFrame
        Of `effects.table`.

    Returns
    -------
    pandas.DataFrame
        parameter, values (how many), best, worst, difference (of mean accuracies, adjusted for seeds that
        some points lack), spread (standard deviation of a run that neither point nor seed explains), p,
        verdict; the largest difference first.

    Source: Tukey (1949), Comparing individual means in the analysis of variance, Biometrics 5(2);
    Fisher (1935), The Design of Experiments, on blocks.
    """
    import pandas as pd

    blocks = Blocks.of(table)
    groups = {name: grouped(table, name) for name in varied(table)}
    found = [
        {"parameter": k} | tested_difference(each, blocks) for k, each in groups.items() if len(each) > 1
    ]
    columns = ["parameter", "values", "best", "worst", "difference", "spread", "p", "verdict"]
    ranked = pd.DataFrame(found, columns=columns).sort_values(
        "difference", ascending=False, ignore_index=True
    )
    matters = ranked["p"] < 0.05 / max(len(ranked), 1)
    ranked["verdict"] = np.where(matters, f"matters: {LARGER}", WITHIN)
    ranked.loc[ranked["p"].isna(), "verdict"] = UNTOLD if blocks.degrees else ONE_SEED
    return ranked


def _points(rows: "pd.DataFrame") -> "pd.Series":
    """Return what tells the points of rows apart: the values of all varied parameters, as text."""
    import pandas as pd

    values = rows[["state", *varied(rows)]].itertuples(index=False, name=None)
    return pd.Series([str(each) for each in values], index=rows.index, dtype=object)


@dataclass(frozen=True)
class Blocks:
    """The accuracies of a study as sums of what a point and what a seed does, fitted by least squares.

    Attributes
    ----------
    seeds : (rows, seeds) DataFrame, 1 where a row has that seed.
    effects : (seeds,) float, what each seed adds.
    inverse : (seeds, seeds) float, covariance of `effects` in units of the squared spread.
    told : (seeds, seeds) float, projects on those differences of seeds that the study can tell.
    spread : standard deviation of a run that neither explains; nan if nothing is left to estimate it by.
    degrees : degrees of freedom of the spread.
    """

    seeds: "pd.DataFrame"
    effects: np.ndarray
    inverse: np.ndarray
    told: np.ndarray
    spread: float
    degrees: int

    @classmethod
    def of(cls, table: "pd.DataFrame") -> "Blocks":
        """Fit a table of `effects.table`."""
        import pandas as pd

        rows = done(table)
        points, seeds = _points(rows), pd.get_dummies(rows["seed"]).astype(float)
        # Without the mean of its point, what is left of an accuracy is what its seed adds, and chance.
        x = (seeds - seeds.groupby(points).transform("mean")).to_numpy()
        y = (rows["val_accuracy"] - rows.groupby(points)["val_accuracy"].transform("mean")).to_numpy(float)
        squares = x.T @ x
        inverse = np.linalg.pinv(squares, rcond=1e-9, hermitian=True)
        told, added = inverse @ squares, inverse @ x.T @ y
        degrees = len(rows) - points.nunique() - round(np.trace(told))
        spread = float(np.sqrt(((y - x @ added) ** 2).sum() / degrees)) if degrees else np.nan
        return cls(seeds, added, inverse, told, spread, degrees)

    def means(self, groups: Sequence["pd.Series"]) -> np.ndarray:
        """Return the mean (groups,) of each group of accuracies, as if all had the same seeds."""
        return np.array([group.mean() for group in groups]) - self._unlike(groups) @ self.effects

    def luck(self, groups: Sequence["pd.Series"], trials: int = 50_000) -> np.ndarray | None:
        """Simulate `means` (trials, groups) where nothing has an effect, in units of the spread.

        None if chance cannot be told: there is one seed a point, or groups have no seed in common.
        """
        unlike = self._unlike(groups)
        if not self.degrees or not np.allclose(unlike @ self.told, unlike, atol=1e-6):
            return None
        covariance = np.diag([1 / len(group) for group in groups]) + unlike @ self.inverse @ unlike.T
        values, vectors = np.linalg.eigh(covariance)
        rng = np.random.default_rng(0)
        means = rng.standard_normal((trials, len(groups))) @ (vectors * np.sqrt(values.clip(0))).T
        # The spread is itself known from so many degrees of freedom only.
        return means / np.sqrt(rng.chisquare(self.degrees, (trials, 1)) / self.degrees)

    def _unlike(self, groups: Sequence["pd.Series"]) -> np.ndarray:
        """Return how the shares of the seeds (groups, seeds) differ from those of the mean group."""
        shares = np.array([self.seeds.loc[group.index].mean() for group in groups])
        return shares - shares.mean(axis=0)


def tested_difference(groups: list[tuple[Any, "pd.Series"]], blocks: Blocks) -> dict[str, Any]:
    """Return the row of `what_mattered` for one parameter: best and worst value, difference, p."""
    accuracies = [each for _, each in groups]
    means, luck = blocks.means(accuracies), blocks.luck(accuracies)
    difference = float(np.ptp(means))
    return {
        "values": len(groups),
        "best": groups[int(np.argmax(means))][0],
        "worst": groups[int(np.argmin(means))][0],
        "difference": difference,
        "spread": blocks.spread,
        "p": np.nan if luck is None else float(np.mean(np.ptp(luck, axis=1) * blocks.spread >= difference)),
    }


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
    untold = ranked["verdict"] == UNTOLD
    small = ", ".join(map(in_words, ranked.loc[~matters & ~untold, "parameter"])) or "none of them"
    nothing = f"Within seed-to-seed variation: {small}."
    if untold.any():
        unknown = ", ".join(map(in_words, ranked.loc[untold, "parameter"]))
        nothing += f" Not to be told, for values have no seed in common: {unknown}."
    return {"mattered_sentence": mattered, "nothing_sentence": nothing}


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
    cells = rows.groupby([rows[name].map(written) for name in (a, b)])["val_accuracy"]
    cells = _complete(cells.apply(lambda cell: list(cell.index)).unstack())
    names = [in_words(a), in_words(b)]

    def said(sentence: str) -> dict[str, str]:
        return {"crossed": ", ".join(names), "interaction_sentence": sentence}

    if min(cells.shape, default=0) < 2:
        return said(f"Too few combinations of {' and '.join(names)} are done.")
    blocks = Blocks.of(table)
    accuracies = [rows.loc[index, "val_accuracy"] for index in cells.to_numpy().ravel()]
    means, luck = blocks.means(accuracies).reshape(cells.shape), blocks.luck(accuracies)
    best = list(cells.index[means.argmax(axis=0)])  # of `a`, for each value of `b`
    where = (f"{x} where {names[1]} is {y}" for x, y in zip(best, cells.columns, strict=True))
    alike = len(set(best)) == 1
    same = f"it is best at {best[0]} whatever the {names[1]}" if alike else f"best: {', '.join(where)}"
    size = float(np.abs(_not_additive(means)).max())
    digits = 1 if size > 0.0005 else 2
    verdict = f"The largest deviation from a sum of two effects is {100 * size:.{digits}f} points"
    if luck is None:
        reason = "no seed in common" if blocks.degrees else "one seed per point"
        return said(f"{verdict}; {reason} cannot tell it from chance.")
    chance = np.abs(_not_additive(luck.reshape(-1, *cells.shape))).max(axis=(1, 2))
    p = np.mean(chance * blocks.spread >= size)
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
    """Return a parameter's value in short: 0.3, 1e-4, all, none."""
    if isinstance(value, float) and 0 < value == float(f"{value:.0e}") < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    if isinstance(value, float):
        return f"{value:g}"
    return "all" if value is None else str(value).replace("_", " ") or "none"


def in_words(name: str) -> str:
    """Return the name of a parameter as a reader sees it."""
    return name.replace("_", " ")
