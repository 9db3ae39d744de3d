// What the page shows, in one shape: a branch pack, or a .tflite file with all of its categories.
//
// A model has `title`, `size` of its images, `tree` (nodes with id, label, children), `categories`
// (ids), `activation`, `threshold` or null, `maxGain` or 0 without gains, `hasHeat`, and
// `run(pixels, categories, {gains, heat})`, which returns `scores`, `logits` or null, `activity`,
// `none` and `milliseconds`.

import {unzipSync} from 'fflate';

import {load, run, subset} from './network.js';
import {openPack, Steering} from './pack.js';
import {reader} from './reader.js';
import {nodes, usedNodes} from './tree.js';

const MAX_GAIN = 3; // of a slider, where the file has no limit
const FACTS = 'explorer.json';
const MOST_BYTES = 2 ** 29; // of an unpacked zip: what is beyond is left out

/**
 * Opens what a server offers: a folder of keras_seqpar/mobile/explorer/page_data.py.
 *
 * @param {URL} base address of the folder.
 * @param {number} threads number of CPU threads.
 * @returns {Promise<object | null>} a model; null if the server offers none.
 */
export async function openServed(base, threads) {
  const answer = await fetch(new URL(FACTS, base), {cache: 'no-cache'});
  if (!answer.ok) return null;
  const facts = await answer.json();
  const read = reader(base);
  if (facts.file) return openFile(await read(facts.file), facts.title, threads);
  return openPackModel(name => read(`pack/${name}`), facts, threads, read);
}

/**
 * Opens files that the user chose: one .tflite, a zipped pack, or all files of a pack.
 *
 * @param {File[]} files what was chosen.
 * @param {number} threads number of CPU threads.
 */
export async function openFiles(files, threads) {
  const contents = new Map();
  for (const file of files) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    if (!file.name.endsWith('.zip')) contents.set(file.name, bytes);
    else for (const [name, data] of unzip(bytes, file.name)) contents.set(name, data);
  }
  const title = files[0].name.replace(/\.(zip|json)$/, '');
  if (!contents.has('manifest.json')) {
    if (files.length === 1 && contents.size === 1) {
      return openFile([...contents.values()][0], files[0].name, threads);
    }
    throw new Error('Choose one .tflite file, a zipped pack, or all files of a pack.');
  }
  const read = async name => {
    if (!contents.has(name)) throw new Error(`The pack has no file ${name}. Choose it too.`);
    return contents.get(name);
  };
  return openPackModel(read, {title, parts: {}, networks: {}, examples: null}, threads);
}

function unzip(bytes, name) {
  let total = 0;
  const filter = ({originalSize}) => {
    total += originalSize;
    return total <= MOST_BYTES;
  };
  try {
    const found = Object.entries(unzipSync(bytes, {filter}));
    return found.map(([path, data]) => [path.split('/').pop(), data]);
  } catch {
    throw new Error(`${name} is no zip archive, or a damaged one.`);
  }
}

async function openPackModel(readPart, facts, threads, read = null) {
  const pack = await openPack(readPart, threads);
  const {manifest, tree, categories, size} = pack;
  const steering = read && facts.steerable ? new Steering(facts.steerable, read, pack) : null;
  const steers = ({gains, heat}) => steering && (heat || Object.values(gains).some(g => g !== 1));
  await pack.prepare(categories.slice(0, 1));
  return {
    title: facts.title,
    kind: 'pack',
    facts,
    read,
    readPart,
    manifest,
    size,
    tree,
    categories,
    activation: manifest.classifier_activation,
    threshold: manifest.none_of_these,
    quantization: manifest.quantization,
    maxGain: steering ? MAX_GAIN : 0,
    hasHeat: Boolean(steering),
    nodesOf: ids => pack.nodesOf(ids),
    run(pixels, ids, options = {gains: {}}) {
      if (!steers(options)) return pack.run(pixels, ids);
      steering.gains = options.gains;
      return pack.run(pixels, ids, {steer: steering});
    },
    async close() {
      await pack.close();
      await steering?.close();
    },
  };
}

async function openFile(bytes, title, threads) {
  const network = await load(bytes, threads);
  let signature = network.signatures[0];
  const model = {
    title,
    kind: 'file',
    facts: {title, parts: {}, networks: {}, examples: null},
    bytes: bytes.length,
    size: network.size,
    quantization: network.about.quantization ?? 'unknown',
    activation: network.about.activation,
    threshold: null,
    hasHeat: false,
    signatures: network.signatures.map(({key}) => key),
    choose(key) {
      signature = network.signatures.find(each => each.key === key);
      Object.assign(model, describe(network, signature));
    },
    nodesOf: ids => usedNodes(model.tree, ids),
    async run(pixels, ids, {gains = {}} = {}) {
      const values = model.gainNodes?.map(id => gains[id] ?? 1);
      const options = {signature: signature.key, gains: values};
      const {scores, none, milliseconds} = await run(network, pixels, options);
      const kept = ids.map(id => model.categories.indexOf(id));
      const chosen = subset(scores, kept, network.about.activation);
      // The decision is on the logits of all categories, so it says nothing of some of them.
      const decision = kept.length === scores.length ? none : null;
      return {scores: chosen, logits: null, none: decision, activity: {}, milliseconds};
    },
    close: async () => network.close(),
  };
  Object.assign(model, describe(network, signature));
  return model;
}

// Categories and gains of a signature. Without a hierarchy the categories stand side by side.
function describe({about, files, signatures}, {key, inputs, outputs, labels}) {
  const count = outputs.find(output => output.name === 'scores').shape.at(-1);
  const names = labels ?? Array.from({length: count}, (_, i) => String(i));
  const text = files.get(signatures.length > 1 ? `${key}.hierarchy.json` : 'hierarchy.json');
  const leaves = names.map((label, i) => ({id: String(i), label}));
  const flat = {tree: leaves, categories: leaves.map(({id}) => id)};
  const {tree, categories} = text ? parse(text) : flat;
  const hasGains = inputs.some(input => input.name === 'gains');
  return {
    tree,
    categories,
    gainNodes: hasGains ? nodes(tree).map(node => node.id) : null,
    maxGain: hasGains ? about.max_gain ?? MAX_GAIN : 0,
  };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error('The file is truncated or damaged. Copy or convert it again.');
  }
}
