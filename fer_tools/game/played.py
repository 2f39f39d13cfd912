"""How the game was played: games, choices, and whether the interface worked.

A trace is that of `fer_tools.play.trace.read`. Its times are milliseconds, those of tables seconds.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_lib.files import UsageError

if TYPE_CHECKING:
    import pandas as pd

Event = dict[str, Any]


@dataclass(frozen=True)
class Game:
    """A game, from its beginning to its result, or to where it was left.

    Attributes
    ----------
    events : tuple of dict
        Of the trace.
    """

    events: tuple[Event, ...]

    @property
    def begin(self) -> float:
        """Milliseconds, as in the trace."""
        return self.events[0]["t"]

    @property
    def end(self) -> float:
        """Milliseconds, as in the trace."""
        return self.events[-1]["t"]

    @property
    def winner(self) -> str:
        """Either "player", "computer" or "nobody"; empty, if it was not finished."""
        return self.events[-1].get("winner", "")

    @property
    def moves(self) -> list[Event]:
        """Moves that stand: those of the player that were taken back are left out."""
        found: list[Event] = []
        for event in self.events:
            if event["type"] == "move":
                found.append(event)
            elif (
                event["type"] == "undo" and event["of"] == "column" and found and found[-1]["by"] == "player"
            ):
                found.pop()
        return found


def games(trace: dict[str, Any]) -> list[Game]:
    """Return the games of a trace in which anything was played, in order."""
    begun: list[list[Event]] = []
    for event in trace["events"]:
        if event["type"] == "new_game":
            begun.append([])
        if begun:
            begun[-1].append(event)
    found = [Game(tuple(_until_the_end(events))) for events in begun]
    return [game for game in found if game.moves]


def _until_the_end(events: Iterable[Event]) -> Iterator[Event]:
    for event in events:
        if event["type"] == "measure":
            return
        yield event
        if event["type"] == "result":
            return


def most_telling(games: list[Game]) -> Game | None:
    """Return the game that a figure shows: of those that were finished the last, or else the longest."""
    finished = [game for game in games if game.winner]
    return finished[-1] if finished else max(games, key=lambda game: len(game.moves), default=None)


def choices(trace: dict[str, Any]) -> "pd.DataFrame":
    """Tabulate the choices of rows and columns, one a row.

    Returns
    -------
    pandas.DataFrame
        time (s, since the page was opened), of ("row" or "column"), place (1 to 3), expression (which it
        is), how ("face", "keyboard" or "pointer"), seconds (since it listened), state ("stands", "taken
        back", or "other meant"), meant (the expression that was, where the player said so).
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for event in trace["events"]:
        if event["type"] == "choice":
            row = {"time": event["t"] / 1000, "of": event["of"], "place": event["value"] + 1}
            row |= {"expression": event["expression"], "how": event["how"], "seconds": event["took"] / 1000}
            rows.append(row | {"state": "stands", "meant": ""})
        elif event["type"] == "undo" and rows:
            last = next((row for row in reversed(rows) if row["of"] == event["of"]), rows[-1])
            last["state"] = "taken back" if last["state"] == "stands" else last["state"]
        elif event["type"] == "meant" and rows:
            rows[-1] |= {"state": "other meant", "meant": event["expression"]}
    columns = ("time", "of", "place", "expression", "how", "seconds", "state", "meant")
    return pd.DataFrame(rows, columns=columns)


def facts(trace: dict[str, Any]) -> dict[str, Any]:
    """Count what was played and seen; times are medians over choices by face and over pictures.

    Returns
    -------
    dict
        For `game.` metrics: counts, shares, times (None where there is nothing to measure), and what
        they say in words.

    Raises
    ------
    UsageError
        If the camera saw no face at all.
    """
    frames, every, table = trace["frames"], games(trace), choices(trace)
    seen = np.array([frame["face"] is not None for frame in frames])
    if not seen.any():
        raise UsageError(
            "the trace has no picture with a face; play by face, with the camera on, and save it"
        )
    by_face = table[table["how"] == "face"]
    won = Counter(game.winner for game in every)
    steps, ms = np.diff([frame["t"] for frame in frames]), [frame["ms"] for frame in frames]
    step = float(np.median(steps)) if len(steps) else 0.0
    found: dict[str, Any] = {
        "network": trace["network"]["name"],
        "started": f"{trace['started'][:10]}, {trace['started'][11:16]} UTC",
        "games": len(every),
        "finished": len(every) - won[""],
        "won": won["player"],
        "lost": won["computer"],
        "drawn": won["nobody"],
        "moves": sum(move["by"] == "player" for game in every for move in game.moves),
        "choices": len(table),
        "choices_by_face": len(by_face),
        "choices_by_hand": len(table) - len(by_face),
        "choices_undone": int((by_face["state"] == "taken back").sum()),
        "choices_wrong": int((by_face["state"] == "other meant").sum()),
        "stood_share": float((by_face["state"] == "stands").mean()) if len(by_face) else None,
        "choice_seconds": float(by_face["seconds"].median()) if len(by_face) else None,
        "slow_choice_seconds": float(by_face["seconds"].quantile(0.9)) if len(by_face) else None,
        "pictures": len(frames),
        "face_share": float(seen.mean()),
        "away_share": float(np.mean(["away" in frame for frame in frames])),
        "frames_per_second": 1000 / step if step else None,
        "answer_ms": float(np.median(ms)),
        "slow_answer_ms": float(np.quantile(ms, 0.95)),
    }
    return found | {"interface_sentence": _interface(found), "script_sentence": _script(trace)}


def count(number: int, noun: str) -> str:
    """Write a number and its noun: "no games", "1 game", "2 games"."""
    return f"{number:,} {noun}{'s' * (number != 1)}" if number else f"no {noun}s"


def _interface(found: dict[str, Any]) -> str:
    """Answer in words how well the interface worked."""
    seen = f"A face was found in {found['face_share']:.1%} of {count(found['pictures'], 'picture')}"
    seen += f", and it looked elsewhere in {found['away_share']:.1%}." if found["away_share"] else "."
    if not found["choices"]:
        return f"No choice was made. {seen}"
    finished = f"{found['won']} won, {found['lost']} lost, {found['drawn']} drawn"
    played = f"In {count(found['games'], 'game')} ({finished}) {count(found['choices'], 'choice')} were made"
    played = played.replace("choice were", "choice was")
    if not found["choices_by_face"]:
        return f"{played}, none of them by face. {seen}"
    stood = found["choices_by_face"] - found["choices_undone"] - found["choices_wrong"]
    rest = f"{found['choices_undone']} taken back, {found['choices_wrong']} noted as not what was meant"
    times = f"half of them within {found['choice_seconds']:.1f} s"
    return (
        f"{played}, {found['choices_by_face']:,} of them by face, {times} of being asked for. "
        f"Of those by face, {stood:,} stood; {rest}. {seen}"
    )


def _script(trace: dict[str, Any]) -> str:
    """Say so where a script knew what was shown: then nobody played, and a person may fare otherwise."""
    told = any("intended" in row for kind in ("frames", "events") for row in trace[kind])
    said = "A script played this game by showing faces to the camera: it tells how the interface works, not "
    return f"{said}how well a person's face is recognised." if told else ""
