// Networks as `fer export` writes them: looked at, then run. What a file says of itself decides, nothing else.

export const EXPRESSIONS = ["neutral", "happy", "surprise"];
const LARGEST = 64 * 2 ** 20; // bytes
const PATIENCE = 10_000; // ms for any one thing that a network is asked

/** What a player is told, in one line. */
export class Refused extends Error {}

/** Fetch a file of this page; packed ones are unpacked, whether or not the host has done so. */
export async function fetched(name) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Refused(`${name} is missing (${answer.status}).`);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes.buffer;
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

export const sha256 = async (bytes) =>
  Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)), (b) => b.toString(16).padStart(2, "0")).join("");

/** What runs networks: a worker with the runtime, which is begun anew where it does not answer. */
export class Engine {
  #worker; #begun; #count; #waiting = new Map(); #loaded = new Map();

  constructor(wasm) { this.wasm = wasm; }

  /** Begin, or begin anew: what is asked meanwhile waits, what was asked before is refused. */
  start() { return (this.#begun = this.#begin()); }

  async #begin() {
    for (const { reject, timer } of this.#waiting.values()) { clearTimeout(timer); reject(new Refused("It was begun anew.")); }
    // Of a blob, so that it is under this page's policy wherever the page lies; a file has its host's.
    const url = new URL("worker.js", import.meta.url).href;
    const blob = URL.createObjectURL(new Blob([`import ${JSON.stringify(url)};`], { type: "text/javascript" }));
    this.#worker?.terminate();
    this.#waiting = new Map();
    this.#count = 0;
    this.#worker = new Worker(blob, { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#settle(data);
    const here = this.#expect(0, "start");
    this.#worker.onerror = () => this.#settle({ id: 0, error: "the browser runs no modules in workers" });
    await here;
    URL.revokeObjectURL(blob);
    await this.#ask("start", { wasm: this.wasm });
    for (const [name, bytes] of this.#loaded) await this.#ask("load", { name, bytes });
  }

  /** Load a network under a name; return the names of its inputs and outputs. */
  async load(name, bytes) {
    await this.#begun;
    const names = await this.#ask("load", { name, bytes });
    this.#loaded.set(name, bytes);
    return names;
  }

  forget(name) { this.#loaded.delete(name); }

  /** Run a network; return its outputs by name. */
  async run(name, input, data, shape) {
    await this.#begun;
    return this.#ask("run", { name, input, data, shape });
  }

  #ask(task, given) {
    const id = ++this.#count, answer = this.#expect(id, task);
    this.#worker.postMessage({ id, task, ...given });
    return answer;
  }

  #expect(id, task) {
    const worker = this.#worker;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => { worker.terminate(); reject(new Refused("It takes too long.")); }, PATIENCE);
      this.#waiting.set(id, { resolve, reject, timer, task });
    });
  }

  #settle({ id, answer, error }) {
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    if (error === undefined) waiting.resolve(answer); else waiting.reject(new Refused(error));
  }
}

/** Yield [number of the field, content] of a message of Protocol Buffers; content of texts and messages only. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0, factor = 1;
    for (let i = 0; i < 10; i++, factor *= 128) {
      if (at >= bytes.length) throw new Refused("The file ends too early.");
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw new Refused("It is no ONNX file.");
  };
  while (at < bytes.length) {
    const key = varint(), kind = key % 8;
    let length;
    if (kind === 0) { varint(); continue; }
    if (kind === 2) length = varint(); else if (kind === 1) length = 8; else if (kind === 5) length = 4;
    if (length === undefined) throw new Refused("It is no ONNX file.");
    if (at + length > bytes.length) throw new Refused("The file ends too early.");
    if (kind === 2) yield [Math.floor(key / 8), bytes.subarray(at, at + length)];
    at += length;
  }
}

/** Return what an ONNX file says under the name `fer_lab`, null if nothing. */
function said(bytes) {
  const text = (content) => new TextDecoder().decode(content);
  for (const [number, content] of fields(bytes)) {
    if (number !== 14) continue;
    const entry = new Map(fields(content));
    if (text(entry.get(1) ?? new Uint8Array()) === "fer_lab") return text(entry.get(2) ?? new Uint8Array());
  }
  return null;
}

const isName = (name) => typeof name === "string" && /^[^\u0000-\u001f\u007f]{1,100}$/.test(name);
const within = (value, low, high) => typeof value === "number" && value >= low && value <= high;

/** Return the metadata of a network that `fer export` wrote; refuse any other, in one line. */
export function metadata(bytes) {
  if (bytes.byteLength > LARGEST) throw new Refused(`It has more than ${LARGEST / 2 ** 20} MB.`);
  const text = said(new Uint8Array(bytes));
  if (text === null) throw new Refused("It does not say its classes: export it with fer export.");
  let facts;
  try { facts = JSON.parse(text); } catch { throw new Refused("What it says of itself is broken: export it anew."); }
  const { format, name, classes, input, keras_sha256: keras } = facts ?? {};
  if (format !== 1) throw new Refused("It is of another version: export it with the fer of this page.");
  const listed = Array.isArray(classes) && within(classes.length, 2, 1000) && classes.every(isName);
  if (!isName(name) || !listed || new Set(classes).size < classes.length) throw new Refused("Its classes are no list of names.");
  const sized = Number.isInteger(input?.size) && within(input.size, 8, 1024);
  if (!sized || !within(input.black, -1e6, 1e6) || !within(input.white, -1e6, 1e6) || input.black === input.white)
    throw new Refused("It does not say what input it takes: export it anew.");
  const missing = EXPRESSIONS.filter((expression) => !classes.includes(expression));
  if (missing.length) throw new Refused(`It does not know ${missing.join(" and ")}, and the game needs neutral, happy and surprise.`);
  return { name, classes, input, keras: /^[0-9a-f]{64}$/.test(keras) ? keras : undefined };
}

/** Load a network to play with; return {facts for the trace, input, classes, predict}. */
export async function loadNetwork(engine, bytes, slot = "network") {
  const { name, classes, input, keras } = metadata(bytes);
  const { inputs, outputs } = await engine.load(slot, bytes);
  if (!inputs.includes("face") || inputs.length !== 1 || !outputs.includes("probabilities"))
    throw new Refused("It does not take a face and give probabilities: export it with fer export.");
  const shape = [1, input.size, input.size, 1];
  const predict = async (data) => {
    const { probabilities } = await engine.run(slot, "face", data, shape);
    const sum = probabilities.reduce((a, b) => a + b, 0);
    const fine = probabilities.length === classes.length && probabilities.every((p) => p >= 0) && Math.abs(sum - 1) < 0.02;
    if (!fine) throw new Refused(`It answers with ${probabilities.length} numbers that are no probabilities of ${classes.length} classes.`);
    return Array.from(probabilities);
  };
  await predict(new Float32Array(input.size ** 2).fill((input.black + input.white) / 2));
  const facts = { name, sha256: await sha256(bytes), classes, size: input.size, ...(keras && { keras_sha256: keras }) };
  return { facts, input, classes, predict };
}
