// Numbers in and out of .tflite files, with the roundings of keras_seqpar/mobile/runtime.

/**
 * Turns pixels into the input of a network: `(pixel - mean) / std`, in float32 as NumPy does.
 *
 * @param {Uint8Array} pixels RGB.
 * @param {number[]} mean per channel.
 * @param {number[]} std per channel.
 */
export function normalize(pixels, mean, std) {
  if (mean.every(value => value === 0) && std.every(value => value === 1)) return pixels;
  const [shift, scale] = [Float32Array.from(mean), Float32Array.from(std)];
  const channel = values => i => values[values.length === 1 ? 0 : i % 3];
  const [below, by] = [channel(shift), channel(scale)];
  return Float32Array.from(pixels, (pixel, i) => Math.fround(pixel - below(i)) / by(i));
}

/** What `activate` computes. */
export const ACTIVATIONS = ['softmax', 'sigmoid', 'linear', null];

/** Scales values to the integers of a tensor; for a tensor of floats they do not change. */
export function encode(values, {dtype, scale, zero}) {
  if (dtype === 'float32') return Float32Array.from(values);
  if (values instanceof Uint8Array && dtype === 'uint8' && (!scale || (scale === 1 && !zero))) {
    return values;
  }
  const integer = value => even(Math.fround(value / scale)) + zero;
  if (dtype === 'uint8') return new Uint8Array(Uint8ClampedArray.from(values, integer));
  return Int8Array.from(values, value => Math.max(-128, Math.min(127, integer(value))));
}

/** The floats that a tensor's values stand for. */
export function decode(values, {dtype, scale, zero}) {
  if (dtype === 'float32') return values;
  return Float32Array.from(values, value => (value - zero) * scale);
}

// Rounds as NumPy does: halves to the even number.
function even(value) {
  const down = Math.floor(value);
  if (value - down !== 0.5) return Math.round(value);
  return down % 2 ? down + 1 : down;
}

/**
 * Turns logits into scores.
 *
 * @param {number[] | Float32Array} logits of the chosen categories.
 * @param {string | null} activation `softmax`, `sigmoid`, or `linear` or null for the logits.
 */
export function activate(logits, activation) {
  if (activation === 'softmax') return softmax(logits);
  if (activation === 'sigmoid') return [...logits].map(x => 0.5 + 0.5 * Math.tanh(0.5 * x));
  return [...logits];
}

export function softmax(logits) {
  const largest = Math.max(...logits);
  const values = [...logits].map(logit => Math.exp(logit - largest));
  const sum = values.reduce((a, b) => a + b, 0);
  return values.map(value => value / sum);
}

/**
 * How well a network knows what an image shows: `known_score` of
 * keras_seqpar/networks/thresholds.py.
 *
 * @param {number[] | Float32Array} logits of the chosen categories.
 * @param {{score: string, temperature: number}} threshold which score.
 */
export function knownScore(logits, {score, temperature}) {
  const largest = Math.max(...logits);
  if (score === 'max_logit') return largest;
  const sum = [...logits].reduce((a, z) => a + Math.exp((z - largest) / temperature), 0);
  return largest + temperature * Math.log(sum);
}
