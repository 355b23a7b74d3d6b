// A thread that decodes: its own instance of libaec, asked by messages { id, call, args }.
import { Libaec } from "./libaec.js";

let library;

const calls = {
  async start({ module }) {
    library = await Libaec.load(module);
  },
  model({ id, weights }) {
    library.addModel(id, weights);
  },
  decode({ data, options }) {
    return library.decode(data, options);
  },
};

onmessage = async ({ data: { id, call, args } }) => {
  try {
    const result = await calls[call](args);
    postMessage({ id, result }, result ? [result.data.buffer] : []);
  } catch (error) {
    postMessage({ id, error: { code: error.code ?? "memory", message: error.message } });
  }
};
