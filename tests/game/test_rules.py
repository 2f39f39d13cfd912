"""The opponent: what the page's modules answer on every board that can be reached."""

from collections import Counter
from math import comb

import pytest

LINES = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]


def winner(board: str) -> str:
    return next((board[a] for a, b, c in LINES if board[a] != "." and board[a] == board[b] == board[c]), "")


def finished(board: str) -> bool:
    return bool(winner(board)) or "." not in board


def put(board: str, cell: int, mark: str) -> str:
    return board[:cell] + mark + board[cell + 1 :]


def free(board: str) -> list[int]:
    return [i for i in range(9) if board[i] == "."]


def to_answer() -> list[str]:
    """Return all boards that can be reached on which it is the computer's turn."""
    seen, waiting = set(), ["." * 9]
    while waiting:
        for cell in free(board := waiting.pop()):
            mine = put(board, cell, "X")
            if mine in seen or finished(mine):
                continue
            seen.add(mine)
            waiting += [theirs for i in free(mine) if not finished(theirs := put(mine, i, "O"))]
    return sorted(seen)


BOARDS = to_answer()


ASKED = """(() => {
  const marks = (board) => [...board].map((mark) => mark === "." ? "" : mark);
  const answers = (level) => given.map((board) => m.candidates(marks(board), level));
  return {
    all: Object.fromEntries(m.LEVELS.map((level) => [level, answers(level)])),
    drawn: given.map((board) => [0, 0.999].map((r) => m.reply(marks(board), "perfect", () => r))),
    ends: given.map((board) => m.result(marks(board))),
  };
})()"""


@pytest.fixture(scope="module")
def asked(page):
    """Give what the page may answer, by level, to each board."""
    return page.module("rules.js", ASKED, BOARDS)


def test_there_are_as_many_boards_as_can_be_counted():
    """Ways to put marks on nine cells, less those on which the player has won: at least three crosses."""
    after_three = comb(9, 3) * comb(6, 2) - 8 * comb(6, 2)  # a line of three crosses, two noughts elsewhere
    by_crosses = Counter(board.count("X") for board in BOARDS)
    assert by_crosses[1] == 9 and by_crosses[2] == comb(9, 2) * 7 and by_crosses[3] == after_three


def test_a_game_that_goes_on_has_no_result(asked):
    assert asked["ends"] == [None] * len(BOARDS)


@pytest.mark.parametrize("level", ["easy", "medium", "perfect"])
def test_only_free_cells_are_taken(asked, level):
    for board, cells in zip(BOARDS, asked["all"][level], strict=True):
        assert cells and set(cells) <= set(free(board)), board


def test_perfect_never_loses_whatever_the_lot(asked):
    answers = dict(zip(BOARDS, asked["all"]["perfect"], strict=True))
    waiting, seen, lost, won = ["." * 9], set(), 0, 0
    while waiting:
        for cell in free(board := waiting.pop()):
            mine = put(board, cell, "X")
            if finished(mine):
                lost += winner(mine) == "X"
                continue
            for answer in answers[mine]:
                theirs = put(mine, answer, "O")
                won += winner(theirs) == "O"
                if theirs not in seen and not finished(theirs):
                    seen.add(theirs)
                    waiting.append(theirs)
    assert lost == 0 and won > 0


def test_perfect_wins_at_once_where_it_can(asked):
    for board, cells in zip(BOARDS, asked["all"]["perfect"], strict=True):
        wins = [cell for cell in free(board) if winner(put(board, cell, "O"))]
        assert not wins or set(cells) == set(wins), board


def test_medium_wins_or_defends_where_one_move_decides(asked):
    for board, cells in zip(BOARDS, asked["all"]["medium"], strict=True):
        wins = [cell for cell in free(board) if winner(put(board, cell, "O"))]
        dangers = [cell for cell in free(board) if winner(put(board, cell, "X"))]
        assert set(cells) == set(wins or dangers or free(board)), board


def test_easy_takes_any_cell(asked):
    assert asked["all"]["easy"] == [free(board) for board in BOARDS]


def test_the_lot_decides_among_the_best(asked):
    for cells, (first, last) in zip(asked["all"]["perfect"], asked["drawn"], strict=True):
        assert (first, last) == (cells[0], cells[-1])
