// Noughts and crosses. A board is an array of nine: "X" the player, "O" the computer, "" free; row by row.

export const LINES = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]];
export const LEVELS = ["easy", "medium", "perfect"];

/** Return {who: "X", "O" or "" for a draw, line} of a board that is finished, null of another. */
export function result(board) {
  for (const line of LINES) {
    const who = board[line[0]];
    if (who && line.every((i) => board[i] === who)) return { who, line };
  }
  return board.every(Boolean) ? { who: "", line: [] } : null;
}

/** Return the indices of the free cells. */
export const free = (board) => board.flatMap((mark, i) => (mark ? [] : [i]));

const after = (board, cell, mark) => board.map((old, i) => (i === cell ? mark : old));
const other = (mark) => (mark === "X" ? "O" : "X");

const known = new Map(); // what boards are worth: there are few thousands

/** Return what a board is worth to the computer if both play perfectly; the sooner a win, the more. */
export function worth(board, turn) {
  const key = board.map((mark) => mark || ".").join("");
  if (!known.has(key)) known.set(key, minimax(board, turn));
  return known.get(key);
}

function minimax(board, turn) {
  const end = result(board);
  if (end) return end.who ? (end.who === "O" ? 1 : -1) * (1 + free(board).length) : 0;
  const values = free(board).map((cell) => worth(after(board, cell, turn), other(turn)));
  return turn === "O" ? Math.max(...values) : Math.min(...values);
}

/** Return the cells that win at once for a mark. */
const winning = (board, mark) => free(board).filter((cell) => result(after(board, cell, mark))?.who === mark);

/** Return the cells among which the computer draws lots at a level. */
export function candidates(board, level) {
  if (level === "perfect") {
    const values = new Map(free(board).map((cell) => [cell, worth(after(board, cell, "O"), "X")]));
    const best = Math.max(...values.values());
    return [...values.keys()].filter((cell) => values.get(cell) === best);
  }
  if (level === "medium") {
    for (const mark of ["O", "X"]) if (winning(board, mark).length) return winning(board, mark);
  }
  return free(board);
}

/** Return the cell that the computer takes. */
export function reply(board, level, random = Math.random) {
  const cells = candidates(board, level);
  return cells[Math.floor(random() * cells.length)];
}
