"""How well expressions were recognised: prompts against the test set, and against what was seen.

A trace is that of `fer_tools.play.trace.read`. The unit is a prompt: pictures of one prompt are much alike.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_lib.statistics import LEVEL, wilson_interval
from fer_tools import pretrained
from fer_tools.game.played import count
from fer_tools.play.trace import EXPRESSIONS
from fer_tools.report.numbers import number
from fer_tools.run.run import MODEL, Run

if TYPE_CHECKING:
    import pandas as pd

NONE = "none"  # the answer where no expression was held long enough
ALIKE = 0.1  # a difference of accuracies that the prompts have to be able to exclude
# What of a face may make it hard: column of `prompts`, and its unit.
CONDITIONS = {"size": "share of the picture's width", "tilt": "degrees", "brightness": "grey level"}


def prompts(trace: dict[str, Any]) -> "pd.DataFrame":
    """Tabulate the prompts that were answered, or whose time ran out, one a row.

    Returns
    -------
    pandas.DataFrame
        prompt, answer (an expression or "none"), right (bool), seconds, pictures, face_share (of these
        pictures, with a face that looked this way), and of the face, as medians over the pictures: size
        (side of its square as a share of the picture's width), tilt (degrees from upright) and brightness
        (grey level); NaN where there was none.
    """
    import pandas as pd

    times, width, rows = [frame["t"] for frame in trace["frames"]], math.nan, []
    for event in trace["events"]:
        if event["type"] == "camera":
            width = event.get("width", width)
        if event["type"] != "answer":
            continue
        first, last = bisect_left(times, event["t"] - event["took"]), bisect_right(times, event["t"])
        answer = event["answer"] or NONE
        row = {"prompt": event["prompt"], "answer": answer, "right": answer == event["prompt"]}
        row |= {"seconds": event["took"] / 1000} | _seen(trace["frames"][first:last], width)
        rows.append(row)
    columns = ("prompt", "answer", "right", "seconds", "pictures", "face_share", *CONDITIONS)
    return pd.DataFrame(rows, columns=columns).astype({"right": bool})


def _seen(frames: list[dict[str, Any]], width: float) -> dict[str, float]:
    """Return how many pictures there are, and what of the face on them."""
    looking = [frame for frame in frames if frame["face"] and "away" not in frame]
    found = {"pictures": len(frames), "face_share": len(looking) / len(frames) if frames else math.nan}
    faces = np.array(
        [[f["face"]["side"] / width, abs(f["face"]["angle"]), f["face"]["brightness"]] for f in looking]
    )
    medians = np.median(faces, axis=0).tolist() if len(faces) else [math.nan] * len(CONDITIONS)
    return found | dict(zip(CONDITIONS, medians, strict=True))


def confusion(table: "pd.DataFrame") -> np.ndarray:
    """Count answers as `matrix[prompt, answer]`; the last column is of prompts without an answer."""
    pairs = list(zip(table["prompt"], table["answer"], strict=True))
    return np.array([[pairs.count((p, a)) for a in (*EXPRESSIONS, NONE)] for p in EXPRESSIONS])


def tested(trace: dict[str, Any], run: Run) -> tuple[str, Mapping[str, Any]]:
    """Return in words which network played, and its `test.` metrics; none where these are not known."""
    digest = trace["network"].get("keras_sha256")
    if digest is not None and digest == run.digest(MODEL):
        recalls = (f"test.recall.{name}" for name in EXPRESSIONS)
        return "this run's network", run.some_metrics("test.accuracy", "test.images", *recalls)
    if shipped := pretrained.of_digest(digest):
        return f"the shipped network, {shipped}", pretrained.facts(shipped)["metrics"]
    return "another network, whose test is not known here", {}


def newcombe_interval(
    successes: int, n: int, others: int, m: int, level: float = LEVEL
) -> tuple[float, float]:
    """Interval of the difference of two independent proportions, from Wilson's interval of each.

    Source: Newcombe (1998), Interval estimation for the difference between independent proportions,
    Statistics in Medicine 17, method 10.
    """
    p, q = successes / n, others / m
    (p_low, p_high), (q_low, q_high) = wilson_interval(successes, n, level), wilson_interval(others, m, level)
    return p - q - math.hypot(p - p_low, q_high - q), p - q + math.hypot(p_high - p, q - q_low)


def facts(table: "pd.DataFrame", network: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the accuracy over prompts with that on the test set.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `prompts`.
    network, metrics
        Of `tested`.

    Returns
    -------
    dict
        For `game.` metrics; None where there are no prompts, or no test.
    """
    n, right = len(table), int(table["right"].sum())
    found: dict[str, Any] = {"prompts": n, "right": right, "unanswered": int((table["answer"] == NONE).sum())}
    low, high = wilson_interval(right, n) if n else (None, None)
    found |= {"accuracy": right / n if n else None, "accuracy_low": low, "accuracy_high": high}
    accuracy, images = metrics.get("test.accuracy"), metrics.get("test.images")
    hits = round(accuracy * images) if images else 0
    low, high = wilson_interval(hits, images) if images else (None, None)
    found |= {"tested": network, "test_images": images, "mix_accuracy": _at_the_mix(table, metrics)}
    found |= {"test_accuracy": accuracy, "test_accuracy_low": low, "test_accuracy_high": high}
    low, high = newcombe_interval(right, n, hits, images) if n and images else (None, None)
    found |= {"difference": right / n - accuracy if n and images else None}
    found |= {"difference_low": low, "difference_high": high}
    return found | {"comparison_sentence": _comparison(found)}


def _at_the_mix(table: "pd.DataFrame", metrics: Mapping[str, Any]) -> float | None:
    """Return the accuracy that the test promises where expressions are as frequent as among the prompts."""
    recalls = [metrics.get(f"test.recall.{name}") for name in table["prompt"]]
    return float(np.mean(recalls)) if recalls and None not in recalls else None


def _comparison(found: dict[str, Any]) -> str:
    """Answer in words whether expressions were recognised as accurately as on the test set."""
    if not found["prompts"]:
        return "Nobody was prompted, so there is nothing to compare; the page's button for measuring does it."
    ends = f"{found['accuracy_low']:.1%} to {found['accuracy_high']:.1%}"
    said = f"{found['right']} of {count(found['prompts'], 'prompt')} were recognised"
    said += f": {found['accuracy']:.1%} ({ends})"
    if found["difference"] is None:
        return f"{said}. It was {found['tested']}, so there is nothing to compare it with."
    low, high = found["difference_low"], found["difference_high"]
    said += f"; on its test set {found['tested']} is right in {found['test_accuracy']:.1%}. "
    difference, *ends = (number(100 * value, "+.1f") for value in (found["difference"], low, high))
    points = f"{difference} points ({ends[0]} to {ends[1]})"
    if low > 0 or high < 0:
        return f"{said}So it recognises {'more' if low > 0 else 'fewer'} here than there: {points}."
    if max(-low, high) <= ALIKE:
        return f"{said}So it is as accurate here as there, to within {100 * ALIKE:.0f} points: {points}."
    return f"{said}The difference is {points}: too few prompts to tell."


def conditions(table: "pd.DataFrame") -> "pd.DataFrame":
    """Compare what was seen of the face in prompts that were recognised with those that were not.

    Returns
    -------
    pandas.DataFrame
        A row a condition: condition, unit, right and wrong (medians), above (how often a recognised prompt
        has more of it than another, ties counted half), p (of Mann and Whitney's test, normal approximation).
        NaN where one of the two is empty.
    """
    import pandas as pd

    rows = []
    for name, unit in CONDITIONS.items():
        values = table[table[name].notna()]
        groups = [values.loc[values["right"] == right, name].to_numpy(float) for right in (True, False)]
        medians = [float(np.median(group)) if len(group) else math.nan for group in groups]
        row = {"condition": name, "unit": unit, "right": medians[0], "wrong": medians[1]}
        rows.append(row | dict(zip(("above", "p"), mann_whitney(*groups), strict=True)))
    return pd.DataFrame(rows)


def mann_whitney(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Return how often one of ours is larger than one of theirs, and the p-value of its being chance.

    Source: Mann and Whitney (1947), On a test of whether one of two random variables is stochastically larger
    than the other, Annals of Mathematical Statistics 18; two-sided, corrected for ties and continuity.
    """
    n, m = len(ours), len(theirs)
    if not n or not m:
        return math.nan, math.nan
    ends = (np.searchsorted(np.sort(theirs), ours, side) for side in ("left", "right"))
    above = float(sum(ends).sum() / (2 * n * m))
    ties = np.unique(np.concatenate([ours, theirs]), return_counts=True)[1]
    variance = n * m / 12 * (n + m + 1 - np.sum(ties**3 - ties) / ((n + m) * (n + m - 1)))
    if not variance:
        return above, 1.0
    z = max(abs(above - 0.5) * n * m - 0.5, 0.0) / math.sqrt(variance)
    return above, math.erfc(z / math.sqrt(2))


def sentences(table: "pd.DataFrame", found: Mapping[str, Any]) -> dict[str, str]:
    """Answer in words why prompts were not recognised.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `prompts`.
    found : dict
        Of `facts`.

    Returns
    -------
    dict
        confusion_sentence, conditions_sentence and mix_sentence, for `game.` metrics.
    """
    return {
        "confusion_sentence": _confusion_sentence(table),
        "conditions_sentence": _conditions_sentence(conditions(table), table),
        "mix_sentence": _mix_sentence(found),
    }


def _confusion_sentence(table: "pd.DataFrame") -> str:
    wrong = table[~table["right"]]
    if wrong.empty:
        return "Every prompt was recognised." if len(table) else "There were no prompts."
    said = f"Of {count(len(wrong), 'prompt')} that were not recognised, "
    mistaken = wrong[wrong["answer"] != NONE]
    pairs = mistaken.groupby(["prompt", "answer"]).size().sort_values(ascending=False, kind="stable")
    if len(pairs):
        (prompt, answer), times = pairs.index[0], pairs.iloc[0]
        said += (
            f"{len(mistaken)} were taken for another expression, most often {prompt} for {answer} ({times}); "
        )
    without = wrong[wrong["answer"] == NONE]
    unseen = int((without["face_share"].fillna(0) < 0.5).sum())
    said += f"of {len(without)} no answer was held long enough"
    return f"{said}, and in {unseen} of these no face looked at the camera most of the time."


def _conditions_sentence(rows: "pd.DataFrame", table: "pd.DataFrame") -> str:
    tried = rows[rows["p"].notna()]
    names = ", ".join(CONDITIONS)
    if tried.empty:
        return f"Whether {names} mattered cannot be told without prompts of both outcomes and a face."
    told = tried[tried["p"] < (1 - LEVEL) / len(CONDITIONS)]
    if told.empty:
        lowest = tried.loc[tried["p"].idxmin()]
        return (
            f"Of {names} none can be shown to go with being recognised, over {count(len(table), 'prompt')}; "
            f"the nearest to it is {lowest['condition']} (p = {lowest['p']:.2f})."
        )
    parts = [
        f"{row['condition']} (median {row['right']:.3g} where it was recognised, {row['wrong']:.3g} where "
        f"not; {row['unit']})"
        for _, row in told.iterrows()
    ]
    return f"What went with being recognised: {', '.join(parts)}."


def _mix_sentence(found: Mapping[str, Any]) -> str:
    if found["mix_accuracy"] is None or found["test_accuracy"] is None:
        return ""
    return (
        "Expressions are not as frequent among the prompts as on the test set: with the mix of the prompts "
        f"its accuracy would be {found['mix_accuracy']:.1%}, instead of {found['test_accuracy']:.1%}."
    )
