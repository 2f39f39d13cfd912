// A game of noughts and crosses by choices: a row, then a column, time to take it back, then the computer.
import { EXPRESSIONS } from "./network.js";
import { LEVELS, reply, result } from "./rules.js";
import { COLUMNS, ROWS, WORDS } from "./board.js";

/**
 * Make a game. `settings` as in choose.js; `record(type, more)` notes events; `changed()` hears of every change;
 * `say(sentence)` tells the player.
 */
export function game({ settings, record, changed, say, random = () => Math.random() }) {
  const state = { board: Array(9).fill(""), phase: "over", row: null, listens: 0, undo: null, last: null, level: "medium" };
  let timer = 0;

  const capital = (text) => text[0].toUpperCase() + text.slice(1);
  const later = (ms, what) => { clearTimeout(timer); timer = setTimeout(what, ms); };

  /** For each expression, whether it may be chosen now. */
  function open() {
    const free = (r, c) => !state.board[3 * r + c];
    if (state.phase === "row") return [0, 1, 2].map((r) => [0, 1, 2].some((c) => free(r, c)));
    if (state.phase === "column") return [0, 1, 2].map((c) => free(state.row, c));
    return [false, false, false];
  }

  /** Wait for a row or a column, once the countdown is over. */
  function listen(phase, sentence, pause = settings.countdown) {
    state.phase = phase;
    state.listens = performance.now() + pause;
    say(sentence);
    changed();
  }

  function start(level = state.level) {
    clearTimeout(timer);
    state.level = LEVELS.includes(level) ? level : "medium";
    Object.assign(state, { board: Array(9).fill(""), row: null, undo: null, last: null });
    record("new_game", { level: state.level });
    listen("row", "Your move. Choose a row with your face.");
  }

  /** Take the expression with number `i` for the row or column that is asked for. */
  function choose(i, how, seen = {}) {
    const { phase } = state;
    if (!open()[i]) return;
    const took = Math.round(Math.max(performance.now() - state.listens, 0));
    record("choice", { of: phase, value: i, expression: EXPRESSIONS[i], how, took, ...seen });
    state.last = how === "face" ? { expression: EXPRESSIONS[i], of: phase } : null;
    state.undo = { of: phase, until: performance.now() + settings.undo };
    if (phase === "row") {
      state.row = i;
      later(settings.undo, () => { state.undo = null; changed(); });
      listen("column", `${capital(WORDS[EXPRESSIONS[i]])}: ${ROWS[i]}. Now choose a column.`);
    } else move(i);
  }

  function move(column) {
    const cell = 3 * state.row + column;
    const before = { board: state.board, row: state.row };
    state.undo.before = before;
    put(cell, "X", "player");
    state.row = null;
    state.phase = "wait";
    say(`${capital(WORDS[EXPRESSIONS[column]])}: ${ROWS[Math.floor(cell / 3)]}, ${COLUMNS[column]}.`);
    later(settings.undo, () => { state.undo = null; if (!finished()) answer(); });
    changed();
  }

  function put(cell, mark, by) {
    state.board = state.board.map((old, i) => (i === cell ? mark : old));
    record("move", { by, cell: [Math.floor(cell / 3), cell % 3], board: state.board.map((one) => one || ".").join("") });
  }

  function answer() {
    const cell = reply(state.board, state.level, random);
    put(cell, "O", "computer");
    if (!finished()) listen("row", `The computer took ${ROWS[Math.floor(cell / 3)]}, ${COLUMNS[cell % 3]}. Choose a row.`);
  }

  function finished() {
    const end = result(state.board);
    if (!end) return false;
    Object.assign(state, { phase: "over", undo: null });
    record("result", { winner: { X: "player", O: "computer", "": "nobody" }[end.who] });
    say({ X: "You win.", O: "The computer wins.", "": "A draw." }[end.who]);
    changed();
    return true;
  }

  /** Take back the last choice, as long as there is time for it. */
  function undo() {
    if (!state.undo) return;
    const { of, before } = state.undo;
    clearTimeout(timer);
    record("undo", { of });
    state.undo = null;
    if (of === "column") Object.assign(state, before); else state.row = null;
    listen(of, of === "row" ? "Taken back. Choose a row." : "Taken back. Choose a column.");
  }

  /** Note what the player meant by the last choice, and take it back if there is time. */
  function meant(expression) {
    if (!state.last) return;
    record("meant", { expression, chosen: state.last.expression });
    state.last = null;
    if (state.undo) undo(); else { say(`Noted: ${WORDS[expression]} was meant.`); changed(); }
  }

  /** Choose row and column at once, as a mouse does. */
  function press(cell) {
    if (state.phase !== "row" && state.phase !== "column") return;
    if (state.board[cell]) return;
    if (state.phase === "column" && state.row !== Math.floor(cell / 3)) { state.row = null; state.phase = "row"; state.listens = performance.now(); }
    if (state.phase === "row") choose(Math.floor(cell / 3), "pointer");
    choose(cell % 3, "pointer");
  }

  /** End the game where it is. */
  function stop() {
    clearTimeout(timer);
    Object.assign(state, { phase: "over", row: null, undo: null, last: null });
  }

  return { state, open, start, choose, undo, meant, press, stop };
}
