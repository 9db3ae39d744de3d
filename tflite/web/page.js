// The page: holds what is chosen, and calls the parts. A change that fails leaves the last good
// state: models and images replace the old ones only when they work.

import {Camera} from './camera.js';
import {Detector} from './changes.js';
import {threaded} from './engine.js';
import {decode, square} from './image.js';
import {openFiles, openServed} from './models.js';
import {keepForOffline} from './offline.js';
import {Stopwatch} from './stopwatch.js';
import {lines, save, zipPack} from './take.js';
import {knownScore} from './tensors.js';
import {nodes} from './tree.js';
import * as views from './views.js';

const DATA = new URL('data/', location.href);
const FORGOTTEN = 'The server no longer answers. Start it again: python tflite/web/serve.py';

const element = id => document.getElementById(id);
const state = {
  model: null,
  chosen: new Set(), // ids of categories
  pixels: null, // of the image, as the model takes them
  source: null, // makes the pixels for a size
  gains: {}, // node id -> gain
  heat: '', // '', 'best' or a node id
  threshold: null, // {score, value, temperature}
  answer: null, // of the last run
  stopwatch: null,
};
let work = Promise.resolve(); // actions run one after another

// Runs an action after all earlier actions; shows the message of an error. An action that works
// takes the last message away, unless it is `quiet`: one that the user did not start.
function enqueue(action, {quiet = false} = {}) {
  work = work.then(async () => {
    try {
      await action();
      if (!quiet) fail('');
    } catch (error) {
      fail(error.message);
    }
  });
  return work;
}

function fail(message) {
  element('error').textContent = message;
  element('error').hidden = !message;
  if (message) element('error').scrollIntoView({block: 'nearest'});
}

/** Resolves when all actions so far are done, measurements included. */
export async function settled() {
  await work;
  await state.stopwatch?.done;
}

const threads = () => Number(element('threads').value);
const chosenIds = () => state.model.categories.filter(id => state.chosen.has(id));
const labels = () => new Map(nodes(state.model.tree).map(({id, label}) => [id, label]));
const chosenLabels = () => chosenIds().map(id => labels().get(id));

// The network ------------------------------------------------------------------------------------

// Makes a model the page's. It must run once on the image before the old one goes.
async function adopt(model) {
  let pixels = null;
  let stopwatch = null;
  try {
    if (state.source) pixels = await pixelsFor(state.source, model.size);
    await model.run(pixels ?? new Uint8Array(3 * model.size ** 2), model.categories.slice(0, 1));
    stopwatch = await Stopwatch.of(model, threads());
  } catch (error) {
    await model.close();
    throw error;
  }
  const old = [state.stopwatch, state.model];
  Object.assign(state, {model, pixels, stopwatch, gains: {}, heat: '', answer: null});
  for (const each of old) await each?.close();
  // Each chosen category loads its branch: of very many, only the first.
  state.chosen = new Set(model.categories.slice(0, Stopwatch.MOST));
  showModel();
  await classify();
}

function showModel() {
  const {model} = state;
  const {title, quantization, size, categories, signatures = [], tree} = model;
  element('about').textContent = `${title} · ${quantization} · ${size} × ${size} pixels · ` +
    `${categories.length} categories`;
  element('signatures').hidden = signatures.length < 2;
  element('signature').replaceChildren(...signatures.map(key => new Option(key)));
  element('choice').hidden = element('costs').hidden = false;
  element('rule').hidden = model.kind === 'pack';
  element('take').hidden = model.kind !== 'pack';
  element('take-file').hidden = !model.facts.server;
  element('data').hidden = !model.facts.validation;
  element('bars').replaceChildren(); // times of the last network
  showSignature(tree);
  if (model.facts.examples) showExamples(model.facts.examples);
}

function showSignature(tree) {
  element('search').hidden = !views.needsSearch(state.model.categories);
  element('search').value = '';
  element('chips').replaceChildren(...views.chips(tree, choose));
  showAttention();
  showThreshold();
  showChoice();
}

function showExamples(examples) {
  element('examples').replaceChildren(...examples.map(({file, caption}) => {
    const url = new URL(file, DATA).href;
    const image = views.make('img', {src: url, alt: caption});
    const open = async () => show(await (await fetch(url)).blob());
    return views.make('button', {type: 'button', title: caption, onclick: () => enqueue(open)},
      image);
  }));
}

// Categories -------------------------------------------------------------------------------------

function choose(ids, on) {
  for (const id of ids) on ? state.chosen.add(id) : state.chosen.delete(id);
  showChoice();
  enqueue(classify);
}

function showChoice() {
  const {chosen, model} = state;
  views.pressChips(element('chips'), chosen);
  element('count').textContent = `${chosen.size} of ${model.categories.length}`;
  for (const id of ['take-file', 'take-pack']) element(id).disabled = chosen.size === 0;
  const used = new Set(model.nodesOf(chosenIds()));
  for (const row of element('gains').children) row.hidden = !used.has(row.dataset.node);
  showCosts();
  showLines();
}

// Costs ------------------------------------------------------------------------------------------

// What the trunk and the branches of some categories cost together.
function costOf(ids) {
  const {facts, manifest, nodesOf, bytes} = state.model;
  if (!manifest) return {bytes};
  const used = ['trunk', ...nodesOf(ids)];
  const sum = (parts, key) => used.every(id => parts[id]?.[key] !== undefined)
    ? used.reduce((total, id) => total + parts[id][key], 0) : undefined;
  const files = {trunk: manifest.trunk, ...manifest.branches};
  return {
    params: sum(facts.parts, 'params'),
    macs: sum(facts.parts, 'macs'),
    bytes: sum(files, 'bytes'),
  };
}

function showCosts() {
  const {model, chosen, stopwatch} = state;
  const {plain} = model.facts.networks;
  const full = model.kind === 'pack' && costOf(model.categories);
  const ms = stopwatch?.fastest ?? {};
  const measured = stopwatch?.isOf(chosenIds()) ? ms.chosen : undefined;
  const mine = {...costOf(chosenIds()), ms: chosen.size ? measured : 0};
  const rows = [
    {name: 'chosen', title: `Your ${chosen.size}`, values: mine},
    full && {name: 'full', title: `All ${model.categories.length}`, values: {...full, ms: ms.full}},
    plain && {name: 'plain', title: 'Plain network', values: {...plain, ms: ms.plain}},
  ].filter(Boolean);
  views.showCosts(element('bars'), rows);
  element('saving').textContent = plain && chosen.size && mine.params
    ? `${percent(mine.params, plain.params)} parameters, ${percent(mine.macs, plain.macs)} MACs ` +
      'of the plain network' : '';
  const count = threaded() ? threads() : 1;
  element('condition').textContent = 'MACs: multiply-accumulates per image. Time: fastest of ' +
    `${Stopwatch.ROUNDS} runs in turns, in this browser, ${count} ` +
    `${count === 1 ? 'thread' : 'threads'}.` +
    (plain ? ' The plain network is of the same family, without branches, for all categories. Its ' +
      'weights are random: they change no cost.' : '');
}

const percent = (part, whole) => `${Math.round(100 * part / whole)} %`;

// The image --------------------------------------------------------------------------------------

// Makes a file the page's image.
async function show(file) {
  if (state.camera.running) stopCamera();
  const source = size => decode(file, size);
  const size = state.model?.size ?? 96;
  const pixels = await pixelsFor(source, size);
  Object.assign(state, {source, pixels});
  await classify();
}

const pixelsFor = async (source, size) => square(await source(size), size);

// Runs the chosen categories on the image, and measures them.
async function classify() {
  await look();
  if (state.model && !state.camera.running) {
    state.stopwatch?.start(chosenIds(), state.pixels, showCosts);
  }
}

// Runs the chosen categories on the image, and shows the answer.
async function look() {
  const {model, pixels, gains, heat} = state;
  if (pixels) views.drawPixels(element('input'), pixels, model?.size ?? 96);
  element('invite').hidden = Boolean(pixels);
  const ids = model ? chosenIds() : [];
  state.answer = pixels && ids.length ? await model.run(pixels, ids, {gains, heat: heat !== ''}) : null;
  showAnswer();
}

function showAnswer() {
  const {answer} = state;
  views.showResults(element('results'), answer ? chosenLabels() : [], answer?.scores ?? []);
  showNone();
  showHeat();
}

// None of these ----------------------------------------------------------------------------------

function showThreshold() {
  const {model} = state;
  state.threshold = model.threshold ? {...model.threshold} : null;
  element('unknowns').hidden = model.kind !== 'pack';
  const {value = -5, score = 'energy', temperature = 1} = model.threshold ?? {};
  const change = wanted => {
    state.threshold = {score, temperature, value: wanted};
    showNone();
  };
  const [min, max] = [Math.min(-5, Math.floor(value)), Math.max(20, Math.ceil(value))];
  element('threshold').replaceChildren(
    views.slider({label: 'Threshold', min, max, step: 0.1, value: value.toFixed(1), change}));
}

function showNone() {
  const {answer, threshold, model} = state;
  const logits = answer?.logits;
  const {score = 'energy', temperature = 1} = threshold ?? model?.threshold ?? {};
  const known = logits ? knownScore(logits, {score, temperature}) : null;
  const whole = state.chosen.size === model?.categories.length;
  // A threshold that the network stores is for all of its categories.
  const stored = threshold !== null && threshold.value === model?.threshold?.value;
  const none = logits ? threshold !== null && (whole || !stored) && known < threshold.value
    : answer?.none === true;
  element('unknown').hidden = !none;
  element('energy').textContent = known === null ? ''
    : `This image: ${score === 'energy' ? 'energy' : 'largest logit'} ${known.toFixed(2)}`;
}

// Top-down attention -----------------------------------------------------------------------------

function showAttention() {
  const {model} = state;
  state.gains = {};
  state.heat = '';
  element('attention').hidden = !model.maxGain;
  element('floats').hidden = model.kind !== 'pack' || model.quantization !== 'int8';
  element('heat-row').hidden = !model.hasHeat;
  const named = nodes(model.tree).map(({id, label}) => new Option(label, id));
  element('heat').replaceChildren(
    new Option('nothing', ''), new Option('the best category', 'best'), ...named);
  const level = (tree, indent) => tree.flatMap(node =>
    [[node, indent], ...level(node.children ?? [], indent + 1)]);
  element('gains').replaceChildren(...level(model.tree, 0).map(([{id, label}, indent]) => {
    const change = gain => {
      state.gains[id] = gain;
      enqueue(look);
    };
    const row = views.slider({label, min: 0, max: model.maxGain, value: 1, change, indent});
    row.dataset.node = id;
    return row;
  }));
}

function neutral() {
  for (const row of element('gains').children) {
    row.querySelector('input').value = 1;
    row.querySelector('output').textContent = '1';
  }
  state.gains = {};
  enqueue(look);
}

function showHeat() {
  const {answer, heat} = state;
  if (element('show-changes').checked && state.camera.running) return;
  const ids = state.model ? chosenIds() : [];
  const best = answer && ids[answer.scores.indexOf(Math.max(...answer.scores))];
  const map = answer?.activity?.[heat === 'best' ? best : heat];
  element('overlay').hidden = !map;
  if (map) views.drawHeat(element('overlay'), map);
}

// The camera -------------------------------------------------------------------------------------

const changes = {detector: new Detector(20), times: [], skipped: 0, frames: 0};

// Classifies one frame of the camera, and shows where it changed.
async function frame(image) {
  const {model} = state;
  const size = model?.size ?? 96;
  const pixels = square(image, size);
  const {changed, share} = changes.detector.next(pixels);
  Object.assign(state, {pixels, source: async () => image});
  const now = performance.now();
  changes.times = [...changes.times.filter(time => now - time < 1000), now];
  changes.frames++;
  if (share === 0 && state.answer) changes.skipped++;
  else await enqueue(look, {quiet: true});
  if (!state.camera.running) return; // stopped meanwhile
  if (element('show-changes').checked) {
    element('overlay').hidden = false;
    views.drawChanges(element('overlay'), changed, size);
  }
  element('share').textContent = `${(100 * share).toFixed(1)} % changed; ${changes.skipped} of ` +
    `${changes.frames} frames did not change and were not computed again.`;
  const ms = state.answer ? `, network ${state.answer.milliseconds.toFixed(1)} ms` : '';
  element('speed').textContent = `${changes.times.length} frames per second${ms}`;
}

async function toggleCamera() {
  if (state.camera.running) return stopCamera();
  await state.stopwatch?.stop();
  await startCamera();
}

async function startCamera(deviceId) {
  changes.detector = new Detector(changes.detector.threshold);
  Object.assign(changes, {times: [], skipped: 0, frames: 0});
  await state.camera.start(deviceId);
  element('camera').setAttribute('aria-pressed', 'true');
  element('camera').textContent = 'Stop camera';
  const devices = await Camera.devices();
  const current = state.camera.stream.getVideoTracks()[0].getSettings().deviceId;
  element('device').replaceChildren(...devices.map(({deviceId: id, label}, i) =>
    new Option(label || `Camera ${i + 1}`, id, false, id === current)));
  element('device').hidden = devices.length < 2;
}

function stopCamera() {
  state.camera.stop();
  element('camera').setAttribute('aria-pressed', 'false');
  element('camera').textContent = 'Camera';
  element('device').hidden = true;
  element('speed').textContent = '';
  element('overlay').hidden = true;
  enqueue(classify, {quiet: true}); // the message of what stopped it stays
}

// Take it with you -------------------------------------------------------------------------------

// A name for the files of a choice: `imagenette_mobile-5`.
const fileName = () => `${state.model.title.replace(/[^\p{L}\p{M}\p{N}]+/gu, '_')}-${state.chosen.size}`;

function showLines() {
  const {model} = state;
  if (model.kind !== 'pack') return;
  const names = chosenLabels();
  const unique = new Set(names).size === names.length;
  const text = lines(fileName(), unique ? names : chosenIds(), model.facts.source ?? null);
  const titles = {shell: 'Command line', python: 'Python', kotlin: 'Kotlin'};
  element('lines').replaceChildren(...Object.entries(titles).flatMap(([key, title]) =>
    [views.make('h3', {}, title), views.make('pre', {tabIndex: 0}, text[key])]));
}

async function takePack() {
  const name = fileName();
  save(await zipPack(state.model, state.chosen, `${name}.pack`), `${name}.pack.zip`);
}

async function takeFile() {
  const button = element('take-file');
  Object.assign(button, {disabled: true, textContent: 'Converting ...'});
  try {
    const query = new URLSearchParams(chosenIds().map(id => ['category', id]));
    const answer = await fetch(new URL(`cutout.tflite?${query}`, DATA)).catch(() => null);
    if (!answer) throw new Error(FORGOTTEN);
    if (!answer.ok) throw new Error(await answer.text());
    save(await answer.blob(), `${fileName()}.tflite`);
  } finally {
    Object.assign(button, {disabled: false, textContent: 'Download .tflite'});
  }
}

// Controls ---------------------------------------------------------------------------------------

function setUp() {
  const most = threaded() ? navigator.hardwareConcurrency : 1;
  element('threads').replaceChildren(
    ...[1, 2, 4, 8].filter(count => count <= most).map(count => new Option(count)));
  state.camera = new Camera(element('video'), frame, () => enqueue(() => {
    stopCamera();
    throw new Error('The camera has stopped. Start it again, or choose another one.');
  }));
  const when = (id, event, action) => element(id).addEventListener(event, action);
  when('file', 'change', ({target}) => {
    const files = [...target.files];
    target.value = ''; // the same file can be chosen again
    if (files.length) enqueue(() => open(() => openFiles(files, threads())));
  });
  when('image', 'change', ({target}) => {
    const [file] = target.files;
    target.value = '';
    if (file) enqueue(() => show(file));
  });
  when('threads', 'change', () => enqueue(() => open(reopen)));
  when('signature', 'change', ({target}) => enqueue(async () => {
    state.model.choose(target.value);
    state.chosen = new Set(state.model.categories);
    showSignature(state.model.tree);
    await classify();
  }));
  when('all', 'click', () => choose(state.model.categories, true));
  when('none', 'click', () => choose(state.model.categories, false));
  when('search', 'input', ({target}) => views.searchChips(element('chips'), target.value));
  when('neutral', 'click', neutral);
  when('heat', 'change', ({target}) => {
    state.heat = target.value;
    enqueue(look);
  });
  when('camera', 'click', () => enqueue(toggleCamera));
  when('device', 'change', ({target}) => enqueue(() => startCamera(target.value)));
  when('show-changes', 'change', () => {
    element('overlay').hidden = true;
    showHeat();
  });
  element('difference').append(views.slider({
    label: 'Difference', min: 0, max: 100, step: 1, value: changes.detector.threshold,
    change: threshold => { changes.detector.threshold = threshold; },
  }));
  when('take-pack', 'click', () => enqueue(takePack));
  when('take-file', 'click', () => enqueue(takeFile));
  takeDropsAndPastes();
}

let reopen = () => openServed(DATA, threads()); // the model with other threads

async function open(opener) {
  const model = await opener();
  if (!model) return;
  await adopt(model);
  reopen = opener;
}

// Images can be dropped and pasted anywhere; other dropped files are networks.
function takeDropsAndPastes() {
  const take = files => {
    if (!files.length) return;
    const image = files.find(file => file.type.startsWith('image/'));
    enqueue(() => image ? show(image) : open(() => openFiles(files, threads())));
  };
  const stage = element('stage');
  addEventListener('dragover', event => {
    event.preventDefault();
    stage.classList.add('over');
  });
  addEventListener('dragleave', () => stage.classList.remove('over'));
  addEventListener('drop', event => {
    event.preventDefault();
    stage.classList.remove('over');
    take([...event.dataTransfer.files]);
  });
  addEventListener('paste', event => take([...event.clipboardData.files]));
}

// Keeps the page and the served network's files.
async function keep() {
  const {facts, manifest} = state.model ?? {};
  const parts = manifest ? [manifest.trunk, ...Object.values(manifest.branches)] : [];
  const names = [
    ...parts.map(({file}) => `pack/${file}`),
    ...Object.values(facts?.steerable ?? {}),
    ...(facts?.examples ?? []).map(({file}) => file),
  ];
  const kept = await keepForOffline(names.map(name => new URL(name, DATA).href));
  element('offline').textContent = kept ? 'Works offline now.' : '';
}

setUp();
enqueue(() => open(reopen)).then(keep).catch(() => {}); // a page that is not kept works online
