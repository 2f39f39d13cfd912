// What is recorded of games: numbers and words, never a picture. trace.schema.json describes it.

const MOST_FRAMES = 30_000, MOST_EVENTS = 20_000;
const rounded = (value, digits) => Number(value.toFixed(digits));
const probabilities = (p) => p.map((value) => rounded(Math.min(Math.max(value, 0), 1), 4));

/** Make a recorder; times are milliseconds since the page was opened. */
export function recorder(network, finder, settings) {
  const trace = {
    format: "fer-lab-game-trace", version: 1, started: new Date(performance.timeOrigin).toISOString(),
    network, finder, settings: { ...settings }, frames: [], events: [],
  };
  const now = () => rounded(performance.now(), 1);
  return {
    trace,

    /** Note what happened. */
    event(type, more = {}) {
      if (trace.events.length >= MOST_EVENTS) return;
      trace.events.push({ t: now(), type, ...more, ...(more.p && { p: probabilities(more.p) }) });
    },

    /** Note what was seen in a picture. */
    frame(phase, seen, ms, intended) {
      if (trace.frames.length >= MOST_FRAMES) return;
      const { face, p } = seen, { x, y, side, angle, score } = face ?? {};
      trace.frames.push({
        t: now(), phase, p: p && probabilities(p), ms: rounded(ms, 1),
        face: face && { x: rounded(x, 1), y: rounded(y, 1), side: rounded(side, 1), angle: rounded(angle, 1), score: rounded(score, 3), brightness: rounded(seen.brightness, 1) },
        ...(face?.away && { away: true }), ...(intended && { intended }),
      });
    },
  };
}

/** Give the trace to the user as a file. */
export function download(trace) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(trace)], { type: "application/json" }));
  link.download = `game_trace_${trace.started.replace(/[-:]|\..*/g, "")}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  return link.download;
}

/** Return a function that saves a trace into the run that `fer play` plays with, given its token, each good for once. */
export function saver(token) {
  return async (trace) => {
    const body = JSON.stringify(trace), headers = { "Content-Type": "application/json", "X-Token": token };
    const answer = await fetch("trace", { method: "POST", headers, body });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.error);
    token = said.token;
    return said.saved;
  };
}
