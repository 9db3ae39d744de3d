// Runs one .tflite file in LiteRT.js, from buffers to buffers. It calls the WebAssembly module that
// LiteRT.js exposes: the class Tensor has no int8, which branches of packs exchange, and copies
// every output, which here goes on to the next file as it is.

import {getGlobalLiteRt, loadLiteRt} from '@litertjs/core';

const WASM = new URL('./node_modules/@litertjs/core/wasm/', import.meta.url).pathname;
const ELEMENT_TYPES = {float32: 1, uint8: 3, int8: 9}; // litert::ElementType
const ARRAYS = {float32: Float32Array, uint8: Uint8Array, int8: Int8Array};

let loading = null;

/** True if the browser lets this page use threads. */
export const threaded = () => self.crossOriginIsolated === true;

// The WebAssembly module, loaded once.
async function wasm() {
  loading ??= loadLiteRt(WASM, {threads: threaded()}).catch(error => {
    loading = null; // the next call tries again
    throw error;
  });
  return (await loading).liteRtWasm;
}

/**
 * Makes an engine of a file.
 *
 * @param {Uint8Array} bytes the file.
 * @param {object[]} signatures from `readFile`.
 * @param {number} threads number of CPU threads; 1 is used where the browser allows none.
 * @returns {Promise<Engine>}
 */
export async function compile(bytes, signatures, threads = 1) {
  const module = await wasm();
  const environment = getGlobalLiteRt().getDefaultEnvironment();
  const options = {
    environment,
    accelerator: 'wasm',
    cpuOptions: {numThreads: threaded() ? threads : 1},
    gpuOptions: {},
    webNNOptions: {},
  };
  const memory = module._malloc(bytes.byteLength);
  module.HEAPU8.set(bytes, memory);
  let model = null;
  try {
    model = module.loadModel(environment.liteRtEnvironment, memory, bytes.byteLength);
    const compiled = await module.compileModel(environment.liteRtEnvironment, model, options);
    return new Engine(module, memory, model, compiled, signatures);
  } catch (error) {
    model?.delete();
    module._free(memory);
    throw new Error(`LiteRT.js cannot run the file (${error.message ?? error}).`);
  }
}

/** A compiled file. `compile` makes it; `close` frees its memory. */
class Engine {
  constructor(module, memory, model, compiled, signatures) {
    Object.assign(this, {module, memory, model, compiled});
    this.graphs = Array.from({length: model.getNumSignatures()}, (_, index) => {
      const signature = model.getSignature(index);
      const {inputs, outputs} = signatures.find(({key}) => key === signature.key());
      const named = (names, tensors) => names.map(name => tensors.find(t => t.name === name));
      const graph = {
        key: signature.key(),
        index,
        inputs: named(toArray(signature.inputNames()), inputs),
        outputs: named(toArray(signature.outputNames()), outputs),
      };
      signature.delete();
      return graph;
    });
  }

  /**
   * Runs a signature.
   *
   * @param {object} values name of the input -> typed array of its type, or a `Buffer`.
   * @param {string} [key] of the signature; by default the first.
   * @returns {Promise<object>} name of the output -> `Buffer`, to be closed.
   */
  async run(values, key = this.graphs[0].key) {
    const graph = this.graphs.find(each => each.key === key);
    const made = [];
    const inputs = graph.inputs.map(tensor => {
      const value = values[tensor.name];
      if (value instanceof Buffer) return value.handle;
      made.push(Buffer.of(this.module, value, tensor));
      return made.at(-1).handle;
    });
    try {
      const outputs = await this.compiled.run(graph.index, inputs);
      return Object.fromEntries(graph.outputs.map((tensor, i) =>
        [tensor.name, new Buffer(this.module, outputs[i], tensor)]));
    } finally {
      made.forEach(buffer => buffer.close());
    }
  }

  close() {
    this.compiled.delete();
    this.model.delete();
    this.module._free(this.memory);
  }
}

/** Values of a tensor in LiteRT's memory. */
class Buffer {
  constructor(module, handle, tensor) {
    Object.assign(this, {module, handle, tensor});
  }

  // A buffer with a copy of an array.
  static of(module, array, tensor) {
    const dimensions = new module.VectorInt32();
    tensor.shape.forEach(n => dimensions.push_back(n));
    const layout = module.LiteRtLayout.create(dimensions);
    const type = module.LiteRtRankedTensorType.create(
      {value: ELEMENT_TYPES[tensor.dtype]}, layout);
    const host = module.LiteRtTensorBufferType.HOST_MEMORY;
    const environment = getGlobalLiteRt().getDefaultEnvironment().liteRtEnvironment;
    const handle = module.LiteRtTensorBuffer.createManaged(
      environment, host, type, array.byteLength);
    [dimensions, layout, type].forEach(object => object.delete());
    const at = handle.lock(module.LiteRtTensorBufferLockMode.WRITE);
    module.HEAPU8.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), at);
    handle.unlock();
    return new Buffer(module, handle, tensor);
  }

  /** A copy of the values, as a typed array of the tensor's type. */
  read() {
    const at = this.handle.lock(this.module.LiteRtTensorBufferLockMode.READ);
    const bytes = this.module.HEAPU8.slice(at, at + this.handle.packedSize());
    this.handle.unlock();
    return new ARRAYS[this.tensor.dtype](bytes.buffer);
  }

  close() {
    this.handle.delete();
  }
}

function toArray(vector) {
  const found = Array.from({length: vector.size()}, (_, i) => vector.get(i));
  vector.delete();
  return found;
}
