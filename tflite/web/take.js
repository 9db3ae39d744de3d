// What the user takes along: a pack of the chosen categories, and the lines that run it.

import {zipSync} from 'fflate';

import {nodes} from './tree.js';

/**
 * The manifest of some categories of a pack.
 *
 * @param {object} manifest of the pack.
 * @param {Set<string>} chosen ids of the categories to keep; they keep their order.
 */
export function pruned(manifest, chosen) {
  const keep = node => {
    if (!node.children) return chosen.has(node.id) ? [node] : [];
    const children = node.children.flatMap(keep);
    return children.length ? [{...node, children}] : [];
  };
  const {hierarchy, branches} = manifest;
  const categories = hierarchy.categories.filter(id => chosen.has(id));
  const tree = hierarchy.tree.flatMap(keep);
  const ids = nodes(tree).map(node => node.id);
  return {
    ...manifest,
    // The threshold was fitted on the logits of all categories.
    none_of_these: chosen.size === hierarchy.categories.length ? manifest.none_of_these : null,
    hierarchy: {tree, categories},
    branches: Object.fromEntries(ids.map(id => [id, branches[id]])),
  };
}

/**
 * A zip archive of a pack with some of its categories.
 *
 * @param {object} model from `openServed` or `openFiles`.
 * @param {Set<string>} chosen ids of the categories.
 * @param {string} name of the folder in it.
 * @returns {Promise<Blob>}
 */
export async function zipPack({manifest, readPart}, chosen, name) {
  const smaller = pruned(manifest, chosen);
  const parts = [smaller.trunk, ...Object.values(smaller.branches)];
  const files = {'manifest.json': new TextEncoder().encode(`${JSON.stringify(smaller, null, 1)}\n`)};
  for (const {file} of parts) files[file] = await readPart(file);
  const stored = Object.entries(files).map(([file, data]) => [`${name}/${file}`, data]);
  return new Blob([zipSync(Object.fromEntries(stored), {level: 6})], {type: 'application/zip'});
}

/** Offers a download. */
export function save(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// An argument of a command as a shell wants it.
const shell = text => /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

// Labels as one argument: absl reads it as a line of CSV, the shell as text in double quotes.
const list = labels => labels
  .map(label => /[",]/.test(label) ? `"${label.replaceAll('"', '""')}"` : label).join(',')
  .replace(/["$`\\]/g, '\\$&');

/**
 * The lines that use the files.
 *
 * @param {string} name of the pack and of the .tflite file, without ending.
 * @param {string[]} labels of the chosen categories.
 * @param {string | null} source the .keras file or preset that the server made the pack of.
 */
export function lines(name, labels, source) {
  const quoted = labels.map(label => JSON.stringify(label)).join(', ');
  const convert = source?.endsWith('.keras')
    ? `python tflite/convert.py ${shell(source)} --categories "${list(labels)}" --output ${name}.tflite\n`
    : '';
  return {
    shell: `${convert}python -m keras_seqpar.mobile.run ${name}.tflite image.jpg`,
    python: 'from keras_seqpar.mobile import PackRunner\n\n' +
      `runner = PackRunner("${name}.pack", [${quoted}])\nscores = runner(images)`,
    kotlin: `PackRunner(File(filesDir, "${name}.pack"), LiteRtEngines).use { runner ->\n` +
      '    println(runner.classify(image).top(3))\n}',
  };
}
