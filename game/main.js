// The page: puts camera, eyes, chooser, game and measurement together.
import { barsView, boardView, element, icon, overlay, WORDS } from "./board.js";
import { camera } from "./camera.js";
import { chooser, SETTINGS } from "./choose.js";
import { eyes } from "./eyes.js";
import { game } from "./game.js";
import { measurement } from "./measure.js";
import { Engine, EXPRESSIONS, fetched, loadNetwork, sha256 } from "./network.js";
import { download, recorder, saver } from "./trace.js";

const $ = (id) => document.getElementById(id);
const settings = { ...SETTINGS };
const HINTS = {
  no_face: "No face in view: come into the middle, with light from the front.",
  dark: "It is too dark to see a face well: turn on a light in front of you.",
  small: "Your face is small: come closer.",
  two_faces: "More than one face in view: the game follows the one that it saw first.",
  away: "You look away: the game waits.",
};
const PATIENCE = 700; // ms that something has to be in the way before it is said

const say = (sentence) => { $("say").textContent = sentence; };
const hint = (sentence) => { if ($("hint").textContent !== sentence) $("hint").textContent = sentence; };

/** Take the token for saving out of the address, so that it is not copied with it. */
function takeToken() {
  const found = /^#save=([\w-]{16,100})$/.exec(location.hash);
  if (found) history.replaceState(null, "", location.pathname);
  return found?.[1];
}

async function main() {
  const token = takeToken();
  const [wasm, finderBytes, networkBytes] = await Promise.all(
    ["runtime/ort.wasm.gzip", "networks/finder.onnx", "networks/network.onnx"].map(fetched));
  const engine = new Engine(wasm);
  await engine.start();
  await engine.load("finder", finderBytes);
  const finder = { name: "BlazeFace short range", sha256: await sha256(finderBytes) };
  const look = (input) => engine.run("finder", "input", input, [1, 128, 128, 3]);

  const pick = chooser(settings);
  let network, slot = "network", see, record = recorder(null, finder, settings), about = { what: null, since: 0, said: false };
  const event = (type, more) => record.event(type, more);

  const board = boardView($("field"), (cell) => { if (!measured.state.running) played.press(cell); });
  const bars = barsView($("bars"));
  const played = game({ settings, record: event, say, changed: draw });
  const measured = measurement({ box: $("prompt"), record: event, say, ended: () => { $("measure").textContent = "Measure again"; } });
  const eye = camera($("video"), (state, sentence) => {
    event("camera", { state, ...(state === "on" && { width: $("video").videoWidth, height: $("video").videoHeight }) });
    $("view").classList.toggle("live", eye.on);
    $("stop-camera").hidden = !eye.on;
    if (!eye.on) { bars(null, -1, [true, true, true]); overlay($("over"), 1, 1, null); board.rings(null, -1, 0); pick.reset(); }
    if (!eye.on && measured.state.running) measured.finish();
    hint(sentence);
  });

  function draw() {
    const { state } = played;
    board.draw(state.board, { row: state.phase === "column" ? state.row : null, open: played.open(), of: state.phase });
    $("undo").disabled = !state.undo;
    $("meant").disabled = !state.last;
    if (!state.last) showMeant(false);
  }

  function showMeant(shown) {
    $("meant-what").hidden = !shown;
    $("meant").setAttribute("aria-expanded", shown);
  }

  /** Play with a network from now on; its trace is a new one. */
  async function use(bytes, place) {
    network = await loadNetwork(engine, bytes, place);
    slot = place;
    see = eyes(look, network);
    record = recorder(network.facts, finder, settings);
    $("plays").textContent = `Network: ${network.facts.name}, ${network.facts.size}×${network.facts.size}.`;
  }

  // -- frames ----------------------------------------------------------------------------------------------

  const video = $("video");
  let loop = 0; // the one that counts: an older one, whose frame is still looked at, ends
  function schedule(mine) {
    const next = () => frame(mine);
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(next); else requestAnimationFrame(next);
  }

  async function frame(mine) {
    const counts = () => eye.on && mine === loop;
    if (!counts()) return;
    const width = video.videoWidth, height = video.videoHeight;
    if (width && height) {
      const began = performance.now();
      try {
        const intended = globalThis.ferLabIntended?.(video); // a script that shows faces knows which
        const seen = await see(video, width, height);
        if (counts()) took(seen, began, width, height, intended);
      } catch (error) {
        if (!counts()) return;
        eye.stop();
        hint(`The network failed (${error.message}). The keyboard works: 1, 2, 3.`);
        await engine.start().catch(() => {});
      }
    }
    if (counts()) schedule(mine);
  }

  function took(seen, began, width, height, intended) {
    const now = performance.now(), running = measured.state.running, { state } = played;
    const listens = now >= (running ? measured.state.listens : state.listens);
    const phase = running ? (listens ? "prompt" : "rest") : listens || state.phase === "wait" || state.phase === "over" ? state.phase : "rest";
    const open = running ? [true, true, true] : played.open();
    record.frame(phase, seen, now - began, intended);
    const held = pick.step(began, seen.face?.away ? null : seen.three, open, listens && (running || open.some(Boolean)));
    bars(held.mean, held.candidate, open);
    board.rings(running ? null : state.phase, held.candidate, held.progress);
    $("field").classList.toggle("resting", !listens);
    overlay($("over"), width, height, seen.face, EXPRESSIONS[held.candidate], held.progress);
    notice(seen.about, now);
    if (running) measured.step(seen.face?.away ? null : seen.p, held.chosen, intended);
    else if (held.chosen >= 0) played.choose(held.chosen, "face", { p: seen.p, ...(intended && { intended }) });
  }

  /** Say what is in the way, once it has been for a while. */
  function notice(what, now) {
    if (what !== about.what) about = { what, since: now, said: false };
    if (about.said || now - about.since < PATIENCE) return;
    about.said = true;
    if (what) event("notice", { about: what });
    hint(HINTS[what] ?? "");
  }

  // -- controls --------------------------------------------------------------------------------------------

  async function startCamera() {
    if (!(await eye.start())) return false;
    played.state.listens = performance.now() + settings.countdown;
    schedule(++loop);
    return true;
  }

  function newGame() {
    if (measured.state.running) measured.finish();
    $("field").hidden = false;
    $("prompt").hidden = true;
    pick.reset();
    played.start($("level").value);
  }

  async function measure() {
    if (measured.state.running) return;
    if (!eye.on && !(await startCamera())) return;
    played.stop();
    draw();
    $("field").hidden = true;
    $("prompt").hidden = false;
    pick.reset();
    scrollTo({ top: 0 });
    measured.start(Number($("prompts").value));
  }

  const save = token && saver(token);
  async function keep() {
    try {
      hint(save ? `Saved: ${await save(record.trace)}` : `Saved: ${download(record.trace)}`);
    } catch (error) {
      hint(`Not saved into the run (${error.message}); it is downloaded instead: ${download(record.trace)}`);
    }
  }

  async function another({ target }) {
    const [file] = target.files;
    if (!file) return;
    const wasOn = eye.on;
    eye.stop();
    const old = slot, place = old === "network" ? "other network" : "network";
    let sentence;
    try {
      await use(await file.arrayBuffer(), place);
      engine.forget(old);
      newGame();
      sentence = `Now ${network.facts.name} plays.`;
    } catch (error) {
      engine.forget(place);
      await engine.start(); // without it
      sentence = `${file.name} cannot play: ${error.message}`;
    }
    if (wasOn && !(await startCamera())) sentence += ` ${$("hint").textContent}`;
    hint(sentence);
    target.value = "";
  }

  EXPRESSIONS.forEach((name) => {
    const button = element("button", { type: "button" }, icon(name), WORDS[name]);
    button.addEventListener("click", () => { showMeant(false); played.meant(name); pick.reset(); });
    $("meant-what").append(button);
  });
  $("camera").addEventListener("click", startCamera);
  $("stop-camera").addEventListener("click", () => eye.stop());
  $("new").addEventListener("click", newGame);
  $("level").addEventListener("change", newGame);
  $("undo").addEventListener("click", () => { played.undo(); pick.reset(); });
  $("meant").addEventListener("click", () => showMeant($("meant-what").hidden));
  $("measure").addEventListener("click", measure);
  $("save").addEventListener("click", keep);
  $("network").addEventListener("change", another);
  $("dwell").addEventListener("input", ({ target }) => {
    settings.dwell = Number(target.value);
    $("dwell-value").textContent = `${(settings.dwell / 1000).toFixed(1)} s`;
  });
  $("dwell").addEventListener("change", () => event("setting", { name: "dwell", value: settings.dwell }));
  document.addEventListener("keydown", (pressed) => {
    if (pressed.ctrlKey || pressed.metaKey || pressed.altKey || /^(select|input)$/i.test(pressed.target.tagName)) return;
    const i = "123".indexOf(pressed.key);
    if (pressed.key === "Escape" && measured.state.running) measured.finish();
    else if (measured.state.running) return;
    else if (i >= 0) { played.choose(i, "keyboard"); pick.reset(); }
    else if (pressed.key === "Backspace") { played.undo(); pick.reset(); }
    else if (pressed.key.toLowerCase() === "n") newGame();
    else return;
    pressed.preventDefault();
  });
  const clock = () => {
    const { undo } = played.state, left = undo ? Math.max((undo.until - performance.now()) / settings.undo, 0) : 0;
    $("undo-time").style.transform = `scaleX(${left})`;
    requestAnimationFrame(clock);
  };
  clock();

  await use(networkBytes, "network");
  bars(null, -1, [true, true, true]);
  if (token) $("save").textContent = "Save trace into the run";
  newGame();
  say("Your move. Start the camera, or choose a row by key: 1, 2, 3.");
  document.documentElement.dataset.ready = Math.round(performance.now());
}

main().catch((error) => say(`The game cannot start: ${error.message}`));
