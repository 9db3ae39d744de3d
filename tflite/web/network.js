// Runs .tflite files with LiteRT.js. The Python counterpart is
// keras_seqpar/mobile/runtime/runner.py.

import {loadAndCompile, loadLiteRt, Tensor} from '@litertjs/core';

import {readFile} from './file.js';

const WASM = new URL('./node_modules/@litertjs/core/wasm/', import.meta.url).pathname;
const NONE = 'none_of_these';
const ACTIVATIONS = ['softmax', 'sigmoid', 'linear', null]; // computed from logits
const ARRAYS = {float32: Float32Array, uint8: Uint8Array};

let runtime = null; // loaded once

/**
 * Loads a file.
 *
 * @param {Uint8Array} bytes the content of a .tflite file.
 * @param {number} threads number of CPU threads; 1 is used if the browser allows no threads.
 * @returns {Promise<object>} the result of `readFile`, with `size` of the images, `threads` and
 *   `close()`.
 */
export async function load(bytes, threads = 1) {
  const file = await readFile(bytes);
  file.signatures.forEach(signature => check(signature, file.about));
  const parallel = self.crossOriginIsolated;
  runtime ??= loadLiteRt(WASM, {threads: parallel});
  await runtime;
  threads = parallel ? threads : 1;
  const options = {accelerator: 'wasm', cpuOptions: {numThreads: threads}};
  const model = await loadAndCompile(bytes, options);
  const size = file.signatures[0].inputs.find(input => input.name === 'image').shape[1];
  return {...file, size, threads, model, close: () => model.delete()};
}

/**
 * Runs a network on one image.
 *
 * @param {object} network from `load`.
 * @param {Uint8Array} pixels `size * size * 3`, from `square`.
 * @param {object} [options] `signature`: a key, by default the first; `gains`: one number per node,
 *   0 or more, by default neutral.
 * @returns {Promise<{scores: Float32Array, none: boolean | null, milliseconds: number}>}
 *   `none`: true if the image shows none of the categories; null if the file has no such output.
 */
export async function run(network, pixels, {signature, gains} = {}) {
  const {about, model, signatures} = network;
  const current = signatures.find(({key}) => key === signature) ?? signatures[0];
  const values = {image: () => normalize(pixels, about), gains: () => limit(gains, current, about)};
  const start = performance.now();
  const inputs = {};
  for (const input of current.inputs) {
    inputs[input.name] = new Tensor(encode(values[input.name](), input), input.shape);
  }
  const outputs = await model.run(current.key, inputs);
  const read = name => {
    const output = current.outputs.find(each => each.name === name);
    return output ? decode(outputs[name].toTypedArray(), output) : null;
  };
  const scores = activate(read('scores'), about);
  const none = read(NONE);
  for (const tensor of [...Object.values(inputs), ...Object.values(outputs)]) tensor.delete();
  const milliseconds = performance.now() - start;
  return {scores, none: none && none[0] > 0.5, milliseconds};
}

// The scores of a file: what it gives, or computed from logits where it says that it gives these.
function activate(values, {outputs = 'scores', activation = null}) {
  if (outputs === 'scores' || activation === null || activation === 'linear') return values;
  if (activation === 'sigmoid') return values.map(value => 0.5 + 0.5 * Math.tanh(0.5 * value));
  return Float32Array.from(subset(values, [...values.keys()], null));
}

/**
 * Computes the scores of some of the categories, as a cutout of these gives them.
 *
 * Softmax scores are divided by their sum over the kept categories, which is the softmax over the
 * kept logits. Logits get this softmax. Scores of another or an unknown activation do not change.
 *
 * @param {ArrayLike<number>} scores of all categories.
 * @param {number[]} kept indices of the kept categories.
 * @param {string | null | undefined} activation the activation in the file; null for logits.
 * @returns {number[]} one score per index in `kept`; NaN if all kept scores are 0.
 */
export function subset(scores, kept, activation) {
  let values = kept.map(index => scores[index]);
  if (activation === null) {
    const largest = Math.max(...values);
    values = values.map(value => Math.exp(value - largest));
  } else if (activation !== 'softmax') {
    return values;
  }
  const sum = values.reduce((a, b) => a + b, 0);
  return values.map(value => value / sum);
}

// Throws an error for files that this page cannot run.
function check({inputs, outputs}, about) {
  const image = inputs.find(input => input.name === 'image');
  if (!image || inputs.length > 2 || !outputs.some(output => output.name === 'scores')) {
    throw new Error('This is no file of keras_seqpar.mobile.convert: no image and scores.');
  }
  const [batch, height, width, channels] = image.shape;
  if (batch !== 1 || height !== width || channels !== 3) {
    const shape = image.shape.join(' x ');
    throw new Error(`The file takes images of ${shape}; this page, one square color image.`);
  }
  for (const {name, dtype} of [...inputs, ...outputs]) {
    if (!ARRAYS[dtype]) {
      throw new Error(
        `The file's ${name} is of ${dtype}, which LiteRT.js does not take. Convert it with ` +
          '--input_dtype and --output_dtype uint8 or float32.',
      );
    }
  }
  const {outputs: gives = 'scores', activation = null} = about;
  if (gives !== 'scores' && (gives !== 'logits' || !ACTIVATIONS.includes(activation))) {
    throw new Error(`The file gives ${gives} for the activation ${activation}: convert it again.`);
  }
  if (!about.mean) {
    throw new Error('The file does not say how its images are normalized.');
  }
}

function normalize(pixels, {mean, std}) {
  if (mean.every(value => value === 0) && std.every(value => value === 1)) return pixels;
  const shift = Float32Array.from(mean);
  const scale = Float32Array.from(std);
  // Compute every step in float32, as NumPy does.
  const values = new Float32Array(pixels.length);
  for (let i = 0; i < pixels.length; i++) {
    values[i] = Math.fround(pixels[i] - shift[i % 3]) / scale[i % 3];
  }
  return values;
}

function limit(gains, {inputs}, {max_gain: most = Infinity}) {
  const [, nodes] = inputs.find(input => input.name === 'gains').shape;
  const values = Float32Array.from(gains ?? Array(nodes).fill(1));
  if (values.length !== nodes || !values.every(gain => gain >= 0 && gain < Infinity)) {
    throw new Error(`The file wants ${nodes} gains of 0 or more, got ${[...values].join(', ')}.`);
  }
  return values.map(gain => Math.min(gain, most));
}

// Scales values to the integers of an input; floats do not change.
function encode(values, {dtype, scale, zero}) {
  if (dtype === 'float32' || !scale || (values instanceof Uint8Array && scale === 1 && !zero)) {
    return ARRAYS[dtype].from(values);
  }
  const steps = Uint8ClampedArray.from(values, value => even(Math.fround(value / scale)) + zero);
  return new Uint8Array(steps);
}

// Rounds as NumPy does: halves to the even number.
function even(value) {
  const down = Math.floor(value);
  if (value - down !== 0.5) return Math.round(value);
  return down % 2 ? down + 1 : down;
}

function decode(values, {dtype, scale, zero}) {
  if (dtype === 'float32') return Float32Array.from(values);
  return Float32Array.from(values, value => (value - zero) * scale);
}
