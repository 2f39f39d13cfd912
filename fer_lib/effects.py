"""What the parameters of a study did: the rows of one alone, and whether chance could have done the same.

A table is that of `fer_lib.sweep.table`: a row a point and seed.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


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


def what_mattered(table: "pd.DataFrame") -> "pd.DataFrame":
    """Rank the varied parameters by what they did to validation accuracy, measured against chance.

    For each, the rows of `alone` are grouped by its value. The difference between the best and the worst mean
    is compared with the standard deviation over seeds (pooled over values): how often would k means of as
    many seeds lie as far apart if the parameter did nothing? That is Tukey's studentised range, simulated
    here for groups of unequal size. Parameters are tested together, so one "matters" only below 0.05 divided
    by their number (Bonferroni).

    Parameters
    ----------
    table : pandas.DataFrame
        Of `sweep.table`.

    Returns
    -------
    pandas.DataFrame
        parameter, values (how many), best, worst, difference (of mean accuracies), spread (standard deviation
        over seeds), p, verdict; the largest difference first.

    Source: Tukey (1949), Comparing individual means in the analysis of variance, Biometrics 5(2).
    """
    import pandas as pd

    found = []
    for name in varied(table):
        rows = alone(table, name)
        groups = [
            (value, rows.loc[(rows[name].map(str) == str(value)).to_numpy(), "val_accuracy"].to_numpy(float))
            for value in ordered(rows[name])
        ]
        if len(groups) > 1:
            found.append({"parameter": name} | _difference(groups))
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


def _difference(groups: list[tuple[Any, np.ndarray]]) -> dict[str, Any]:
    means = [accuracies.mean() for _, accuracies in groups]
    result = {
        "values": len(groups),
        "best": groups[int(np.argmax(means))][0],
        "worst": groups[int(np.argmin(means))][0],
        "difference": max(means) - min(means),
    }
    sizes = [len(accuracies) for _, accuracies in groups]
    if max(sizes) < 2:
        return result | {"spread": np.nan, "p": np.nan}
    spread = _pooled(*(accuracies[np.newaxis] for _, accuracies in groups))
    rng = np.random.default_rng(0)
    noise = [rng.standard_normal((50_000, size)) for size in sizes]
    ranges = np.ptp([group.mean(axis=1) for group in noise], axis=0)
    p = float(np.mean(ranges * spread >= result["difference"] * _pooled(*noise)))
    return result | {"spread": float(spread[0]), "p": p}


def _pooled(*groups: np.ndarray) -> np.ndarray:
    """Give the standard deviation within groups (trials, seeds), over groups, for each trial."""
    squares = sum(((group - group.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) for group in groups)
    return np.sqrt(squares / (sum(group.shape[1] for group in groups) - len(groups)))
