// From a stream of probabilities to a choice: a mean over time, two thresholds, and a ring that fills.

export const SETTINGS = {
  dwell: 1000, // ms that an expression is held
  neutral: 1.6, // times as long neutral is, which is also how one looks while thinking
  smoothing: 250, // ms, time constant of the mean
  enter: 0.55, // probability at which the ring starts
  leave: 0.45, // below which it starts anew
  countdown: 1500, // ms before it listens
  undo: 1500, // ms for which a choice can be taken back
};
const LONGEST_STEP = 200; // ms: a page that was asleep has not been watching
const FORGET = 1000; // ms without a face after which the ring is empty

/** Make a chooser; `settings` may change while it works. */
export function chooser(settings) {
  let mean = null, last = null, candidate = -1, progress = 0, missing = 0;

  /** Empty the ring, after a choice; what was seen stays in the mean. */
  function reset() {
    candidate = -1;
    progress = 0;
  }

  /**
   * Take in what was seen at time `t` (ms): `p`, probabilities of neutral, happy and surprise, or null without
   * a face that looks this way. Return {mean, candidate, progress, chosen}; -1 is none.
   */
  function step(t, p, allowed, listening) {
    const passed = last === null ? 0 : Math.min(Math.max(t - last, 0), LONGEST_STEP);
    last = t;
    let chosen = -1;
    if (!p) {
      missing += passed; // looking away pauses
      if (missing > FORGET) { reset(); mean = null; }
    } else {
      const weight = mean ? 1 - Math.exp(-passed / settings.smoothing) : 1;
      mean = mean ? mean.map((m, i) => m + weight * (p[i] - m)) : [...p];
      missing = 0;
      if (listening) chosen = hold(passed, p, allowed); else reset();
    }
    return { mean, candidate, progress, chosen };
  }

  function hold(passed, p, allowed) {
    const best = mean.indexOf(Math.max(...mean));
    if (candidate >= 0 && (mean[candidate] < settings.leave || !allowed[candidate])) reset();
    if (best !== candidate && mean[best] >= settings.enter && allowed[best]) {
      reset();
      candidate = best;
      return -1;
    }
    if (candidate < 0) return -1;
    progress = Math.min(progress + passed / (settings.dwell * (candidate === 0 ? settings.neutral : 1)), 1);
    if (progress < 1 || p[candidate] < settings.leave) return -1; // the mean lags: the face may have changed
    const chosen = candidate;
    reset();
    return chosen;
  }

  return { step, reset };
}
