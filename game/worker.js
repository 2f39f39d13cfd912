// Runs networks, away from the page's own thread: one that takes for ever can be ended.
import * as ort from "./runtime/ort.js";

const sessions = new Map();
const tasks = {
  start({ wasm }) {
    ort.env.logLevel = "fatal"; // it would say in the console what the page says in a sentence
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = wasm;
  },
  async load({ name, bytes }) {
    const session = await ort.InferenceSession.create(new Uint8Array(bytes), { executionProviders: ["wasm"] });
    sessions.set(name, session);
    return { inputs: session.inputNames, outputs: session.outputNames };
  },
  async run({ name, input, data, shape }) {
    const found = await sessions.get(name).run({ [input]: new ort.Tensor("float32", data, shape) });
    return Object.fromEntries(Object.entries(found).map(([key, tensor]) => [key, tensor.data]));
  },
};

self.onmessage = async ({ data: { id, task, ...given } }) => {
  try {
    self.postMessage({ id, answer: await tasks[task](given) });
  } catch (error) {
    self.postMessage({ id, error: String(error?.message ?? error).replace(/\s+/g, " ").slice(0, 200) });
  }
};
self.postMessage({ id: 0, answer: null }); // it is here
