// A branch pack: the trunk runs once per image, then the branches of the chosen categories. The
// Python counterpart is keras_seqpar/mobile/runtime/pack_runner.py.

import {compile} from './engine.js';
import {readFile} from './file.js';
import {ACTIVATIONS, activate, decode, encode, normalize} from './tensors.js';
import {nodes, usedNodes} from './tree.js';

const FORMAT = 'keras_seqpar branch pack';
const VERSION = 1;

/**
 * Opens a pack: reads its manifest, and loads its trunk.
 *
 * @param {(name: string) => Promise<Uint8Array>} read reads a file of the pack.
 * @param {number} threads number of CPU threads.
 * @returns {Promise<Pack>} nothing of it is loaded but the trunk.
 */
export async function openPack(read, threads = 1) {
  const manifest = readManifest(await read('manifest.json'));
  const trunk = await loadPart(read, manifest.trunk, threads);
  return new Pack(manifest, read, trunk, threads);
}

// Parses a manifest and checks that its files fit together, as Manifest.check in Python does.
function readManifest(bytes) {
  let manifest;
  try {
    manifest = JSON.parse(new TextDecoder('utf-8', {fatal: true}).decode(bytes));
  } catch {
    throw new Error('manifest.json is truncated or damaged. Copy it again.');
  }
  if (manifest?.format !== FORMAT) throw new Error('manifest.json is of no branch pack.');
  if (manifest.version !== VERSION) {
    throw new Error(`The pack has the format version ${manifest.version}; this page reads ` +
      `${VERSION}. Make the pack again.`);
  }
  try {
    checkFit(manifest);
  } catch (error) {
    throw new Error(`manifest.json is damaged (${error.message}). Copy it again.`);
  }
  return manifest;
}

function checkFit({trunk, branches, hierarchy, mean, std, classifier_activation: activation}) {
  for (const {file, sha256} of [trunk, ...Object.values(branches)]) {
    if (!/^[\w.]+$/.test(file) || !/^[\da-f]{64}$/i.test(sha256)) {
      throw new Error(`${file} is no name of a file, or has no SHA-256`);
    }
  }
  const all = nodes(hierarchy.tree);
  if (!all.every(({id, label}) => typeof id === 'string' && typeof label === 'string')) {
    throw new Error('a node has no id or no label');
  }
  const leaves = all.filter(({children}) => !children).map(({id}) => id);
  if (!leaves.length || [...leaves].sort().join() !== [...hierarchy.categories].sort().join()) {
    throw new Error('its categories are not those of its tree');
  }
  if (![mean, std].every(given => given === null ||
      ([1, 3].includes(given.length) && given.every(Number.isFinite)))) {
    throw new Error('its mean or std are not 1 or 3 numbers');
  }
  if (!ACTIVATIONS.includes(activation)) throw new Error(`it has the activation ${activation}`);
  const [batch, height, width, channels] = trunk.input.shape;
  if (batch !== 1 || height !== width || channels !== 3) {
    throw new Error(`its images are ${trunk.input.shape.join(' x ')}, wanted is one color square`);
  }
  const check = (node, feeder) => {
    const part = branches[node.id];
    if (!part) throw new Error(`${node.label} has no file`);
    if (part.takes !== feeder.sha256 || !sameTensor(part.input, feeder.output)) {
      throw new Error(`${part.file} does not fit ${feeder.file}`);
    }
    node.children?.forEach(child => check(child, part));
  };
  hierarchy.tree.forEach(root => check(root, trunk));
}

const sameTensor = (a, b) => JSON.stringify([a.shape, a.dtype, a.scale, a.zero_point]) ===
  JSON.stringify([b.shape, b.dtype, b.scale, b.zero_point]);

// Reads, checks and compiles a file.
async function loadPart(read, part, threads) {
  const bytes = await read(part.file);
  const wanted = part.sha256.toLowerCase();
  if (bytes.length !== part.bytes || (await sha256(bytes) ?? wanted) !== wanted) {
    throw new Error(`${part.file} is damaged or another file than the manifest says: copy it ` +
      'again, together with manifest.json.');
  }
  const {signatures} = await readFile(bytes);
  return compile(bytes, signatures, threads);
}

// Browsers hash on https and localhost only; elsewhere it is null, and the size must do.
async function sha256(bytes) {
  if (!self.crypto?.subtle) return null;
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return [...hash].map(byte => byte.toString(16).padStart(2, '0')).join('');
}

/** A pack. `openPack` makes it. */
class Pack {
  constructor(manifest, read, trunk, threads) {
    Object.assign(this, {manifest, read, trunk, threads});
    this.size = manifest.trunk.input.shape[1];
    this.tree = manifest.hierarchy.tree;
    this.categories = manifest.hierarchy.categories;
    this.engines = new Map(); // node id -> promise of its engine
  }

  /** The ids of the nodes that compute these categories. */
  nodesOf(categories) {
    return usedNodes(this.tree, categories);
  }

  /** Loads what these categories need. */
  async prepare(categories) {
    await Promise.all(this.nodesOf(categories).map(id => this.engine(id)));
  }

  engine(id) {
    if (!this.engines.has(id)) {
      const loading = loadPart(this.read, this.manifest.branches[id], this.threads);
      this.engines.set(id, loading);
      loading.catch(() => this.engines.delete(id));
    }
    return this.engines.get(id);
  }

  /** Turns pixels `(size * size * 3)` into what the trunk takes. */
  encode(pixels) {
    const {mean, std, trunk: {input}} = this.manifest;
    const tensor = {...input, zero: input.zero_point};
    return encode(normalize(pixels, mean ?? [0], std ?? [1]), tensor);
  }

  /**
   * Runs the trunk and the branches of some categories on one image.
   *
   * @param {Uint8Array} pixels from `square`.
   * @param {string[]} categories ids.
   * @param {{steer?: Steering}} options `steer`: runs the branches with gains instead.
   * @returns {Promise<{logits: Float32Array, scores: number[], milliseconds: number}>} in the order
   *   of `categories`; with `steer` also `activity`, node id -> `{values, height, width}`.
   */
  async run(pixels, categories, {steer} = {}) {
    await (steer ?? this).prepare(categories);
    const start = performance.now();
    const {features} = await this.trunk.run({image: this.encode(pixels)});
    const open = [features];
    // Branches with gains take floats.
    const given = steer && features.tensor.dtype !== 'float32'
      ? decode(features.read(), features.tensor) : features;
    const logits = new Map();
    const nodes = new Set(this.nodesOf(categories));
    const activity = {};
    const visit = async (node, input) => {
      if (!nodes.has(node.id)) return;
      const engine = await (steer ?? this).engine(node.id);
      const gain = steer && {gain: Float32Array.of(steer.gains[node.id] ?? 1)};
      const outputs = await engine.run({features: input, ...gain});
      open.push(...Object.values(outputs));
      if (outputs.activity) activity[node.id] = mapOf(outputs.activity);
      if (outputs.logit) logits.set(node.id, outputs.logit.read()[0]);
      for (const child of node.children ?? []) await visit(child, outputs.features);
    };
    try {
      for (const root of this.tree) await visit(root, given);
    } finally {
      open.forEach(buffer => buffer.close());
    }
    const values = Float32Array.from(categories, id => logits.get(id));
    const scores = activate(values, this.manifest.classifier_activation);
    return {logits: values, scores, activity, milliseconds: performance.now() - start};
  }

  async close() {
    this.trunk.close();
    for (const engine of await Promise.allSettled(this.engines.values())) engine.value?.close();
  }
}

function mapOf(buffer) {
  const [, height, width] = buffer.tensor.shape;
  return {values: buffer.read(), height, width};
}

/**
 * The branches of a pack as float32 files with gains: keras_seqpar/mobile/explorer/steerable.py.
 */
export class Steering {
  /**
   * @param {object} files node id -> name.
   * @param {(name: string) => Promise<Uint8Array>} read reads a file.
   * @param {Pack} pack whose trunk feeds them.
   */
  constructor(files, read, pack) {
    Object.assign(this, {files, read, pack, gains: {}});
    this.engines = new Map();
  }

  prepare(categories) {
    return Promise.all(this.pack.nodesOf(categories).map(id => this.engine(id)));
  }

  engine(id) {
    if (!this.engines.has(id)) {
      const loading = this.read(this.files[id]).then(async bytes =>
        compile(bytes, (await readFile(bytes)).signatures, this.pack.threads));
      this.engines.set(id, loading);
      loading.catch(() => this.engines.delete(id));
    }
    return this.engines.get(id);
  }

  async close() {
    for (const engine of await Promise.allSettled(this.engines.values())) engine.value?.close();
  }
}
