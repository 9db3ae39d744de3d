// One .tflite file: a network with all of its categories. The Python counterpart is
// keras_seqpar/mobile/runtime/runner.py.

import {compile} from './engine.js';
import {readFile} from './file.js';
import {ACTIVATIONS, activate, decode, encode, normalize, softmax} from './tensors.js';

const NONE = 'none_of_these';

/**
 * Loads a file.
 *
 * @param {Uint8Array} bytes the content of a .tflite file.
 * @param {number} threads number of CPU threads; 1 is used if the browser allows no threads.
 * @returns {Promise<object>} the result of `readFile`, with `size` of the images and `close()`.
 */
export async function load(bytes, threads = 1) {
  const file = await readFile(bytes);
  file.signatures.forEach(signature => check(signature, file.about));
  const engine = await compile(bytes, file.signatures, threads);
  const size = file.signatures[0].inputs.find(input => input.name === 'image').shape[1];
  return {...file, size, engine, close: () => engine.close()};
}

/**
 * Runs a network on one image.
 *
 * @param {object} network from `load`.
 * @param {Uint8Array} pixels `size * size * 3`, from `square`.
 * @param {object} [options] `signature`: a key, by default the first; `gains`: one number per node,
 *   0 or more, by default neutral.
 * @returns {Promise<{scores: number[], none: boolean | null, milliseconds: number}>}
 *   `none`: true if the image shows none of the categories; null if the file has no such output.
 */
export async function run(network, pixels, {signature, gains} = {}) {
  const {about, engine, signatures} = network;
  const current = signatures.find(({key}) => key === signature) ?? signatures[0];
  const values = {
    image: () => normalize(pixels, about.mean, about.std),
    gains: () => limit(gains, current, about),
  };
  const start = performance.now();
  const inputs = Object.fromEntries(current.inputs.map(input =>
    [input.name, encode(values[input.name](), input)]));
  const outputs = await engine.run(inputs, current.key);
  const read = name => outputs[name] && decode(outputs[name].read(), outputs[name].tensor);
  const {outputs: gives = 'scores', activation = null} = about;
  const scores = gives === 'logits' ? activate(read('scores'), activation) : [...read('scores')];
  const none = read(NONE) ?? null;
  Object.values(outputs).forEach(buffer => buffer.close());
  return {scores, none: none && none[0] > 0.5, milliseconds: performance.now() - start};
}

/**
 * Computes the scores of some of the categories, as a cutout of these gives them.
 *
 * Softmax scores are divided by their sum over the kept categories, which is the softmax over the
 * kept logits. Logits get this softmax. Scores of another or an unknown activation do not change.
 *
 * @param {ArrayLike<number>} scores of all categories.
 * @param {number[]} kept indices of the kept categories, in the order wanted.
 * @param {string | null | undefined} activation as the file says.
 * @returns {number[]}
 */
export function subset(scores, kept, activation) {
  const values = kept.map(index => scores[index]);
  if (activation === null) return softmax(values);
  if (activation !== 'softmax') return values;
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
  const {outputs: gives = 'scores', activation = null} = about;
  if (gives !== 'scores' && (gives !== 'logits' || !ACTIVATIONS.includes(activation))) {
    throw new Error(`The file gives ${gives} for the activation ${activation}: convert it again.`);
  }
  if (!about.mean) {
    throw new Error('The file does not say how its images are normalized.');
  }
}

function limit(gains, {inputs}, {max_gain: most = Infinity}) {
  const [, nodes] = inputs.find(input => input.name === 'gains').shape;
  const values = Float32Array.from(gains ?? Array(nodes).fill(1));
  if (values.length !== nodes || !values.every(gain => gain >= 0 && gain < Infinity)) {
    throw new Error(`The file wants ${nodes} gains of 0 or more, got ${[...values].join(', ')}.`);
  }
  return values.map(gain => Math.min(gain, most));
}
