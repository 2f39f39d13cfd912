// Measure yourself: prompts in a balanced random order, and what was recognised of each.
import { EXPRESSIONS } from "./network.js";
import { element, icon, WORDS } from "./board.js";

const PREPARE = 1200, LIMIT = 4000; // ms to get ready for a prompt; within which an expression has to be held

/** Return prompts, as many of each expression, in an order drawn by lot within each three. */
export function prompts(count, random = Math.random) {
  return Array.from({ length: Math.ceil(count / 3) }, () => {
    const three = [...EXPRESSIONS];
    for (let i = 2; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [three[i], three[j]] = [three[j], three[i]];
    }
    return three;
  }).flat().slice(0, count);
}

/** Make a measurement; `record`, `say` as of a game, `ended()` is called in the end. */
export function measurement({ box, record, say, ended }) {
  const state = { running: false, listens: 0 };
  let list = [], answers = [], sums = null, seen = 0;

  function start(count) {
    list = prompts(count);
    answers = [];
    state.running = true;
    record("measure", { prompts: list.length });
    next();
  }

  function next() {
    const name = list[answers.length];
    sums = null;
    seen = 0;
    state.listens = performance.now() + PREPARE;
    box.replaceChildren(
      element("div", { class: `${name} face` }, icon(name)),
      element("div", { class: "word" }, `Look ${WORDS[name]}`),
      element("div", { class: "small" }, `${answers.length + 1} of ${list.length} · Escape ends`),
    );
    say(`Look ${WORDS[name]}, and hold it.`);
  }

  /** Take in a frame: probabilities of the classes or null, the expression chosen or -1, what a script shows. */
  function step(p, chosen, intended) {
    const passed = performance.now() - state.listens;
    if (!state.running || passed < 0) return;
    if (p) { sums = sums ? sums.map((s, i) => s + p[i]) : [...p]; seen++; }
    if (chosen < 0 && passed < LIMIT) return;
    const prompt = list[answers.length], answer = chosen < 0 ? null : EXPRESSIONS[chosen];
    answers.push({ prompt, answer });
    record("answer", { prompt, answer, took: Math.round(passed), ...(seen && { p: sums.map((s) => s / seen) }), ...(intended && { intended }) });
    if (answers.length < list.length) next(); else finish();
  }

  function finish() {
    if (!state.running) return;
    state.running = false;
    record("measure_end", { answered: answers.length });
    const right = answers.filter(({ prompt, answer }) => prompt === answer).length;
    const counts = (prompt, answer) => answers.filter((one) => one.prompt === prompt && one.answer === answer).length;
    const columns = [...EXPRESSIONS, null], shown = (name) => (name ? WORDS[name] : "none");
    box.replaceChildren(
      element("div", { class: "word" }, `${right} of ${answers.length} recognised`),
      element("table", {},
        element("tr", {}, element("th", {}, "asked for"), ...columns.map((name) => element("th", { scope: "col" }, shown(name)))),
        ...EXPRESSIONS.map((prompt) => element("tr", {}, element("th", { scope: "row" }, WORDS[prompt]),
          ...columns.map((answer) => element("td", { class: prompt === answer ? "right" : "" }, String(counts(prompt, answer))))))),
    );
    say(`${right} of ${answers.length} prompts were recognised.`);
    ended();
  }

  return { state, start, step, finish };
}
