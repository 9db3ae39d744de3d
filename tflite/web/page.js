// The page: reads the controls and shows the results. network.js and image.js compute them.

import {load, run, subset} from './network.js';
import {decode, pixelsOf, square} from './image.js';

const TOP = 5; // categories shown
const MAX_GAIN = 3; // of a slider, if the file has no limit
const RUNS = 50; // for the median latency
const RULES = new Map([
  ['softmax', 'Scores are the softmax over the chosen categories (renormalized probabilities).'],
  [null, 'Scores are the softmax over the chosen categories (the file gives logits).'],
  ['sigmoid', 'Every category has its own score: choosing others does not change it.'],
]);
const UNKNOWN_RULE = "The file does not name its activation: scores are shown unchanged.";

const element = id => document.getElementById(id);
const state = {bytes: null, network: null, source: null, pixels: null, kept: [], gains: null};
let work = Promise.resolve(); // actions run one after another

// Runs an action after all earlier actions; shows the message of an error.
function enqueue(action) {
  work = work.then(async () => {
    element('error').textContent = '';
    try {
      await action();
    } catch (error) {
      element('error').textContent = error.message;
    }
  });
}

/** Resolves when all actions so far are done. */
export const settled = () => work;

const signature = () => state.network.signatures[element('signature').selectedIndex];
const label = index => signature().labels?.[index] ?? String(index);

async function open(bytes, name) {
  state.network?.close();
  Object.assign(state, {network: null, bytes: null});
  showResults();
  const network = await load(bytes, Number(element('threads').value));
  Object.assign(state, {bytes, network});
  const names = network.signatures.map(({key}) => new Option(key));
  element('signature').replaceChildren(...names);
  element('signatures').hidden = names.length < 2;
  const {network: net = 'a network', quantization = 'unknown'} = network.about;
  element('about').textContent =
    `${name}: ${net}, ${quantization}, ${bytes.length.toLocaleString('en')} bytes, images of ` +
    `${network.size} x ${network.size}, ${network.threads} thread(s)`;
  showSignature();
  await classify();
}

// Shows the categories and gains of the selected signature.
function showSignature() {
  const {inputs, outputs, gains} = signature();
  const count = outputs.find(output => output.name === 'scores').shape.at(-1);
  state.kept = Array.from({length: count}, (_, i) => i);
  const limit = state.network.about.max_gain ?? MAX_GAIN;
  const nodes = inputs.find(input => input.name === 'gains')?.shape[1] ?? 0;
  state.gains = nodes ? Array(nodes).fill(1) : null;
  element('categories').hidden = false;
  element('gains').hidden = !nodes;
  element('chips').replaceChildren(...state.kept.map(chip));
  const sliders = Array.from({length: nodes}, (_, i) => slider(i, gains?.[i] ?? i, limit));
  element('sliders').replaceChildren(...sliders);
  const {activation} = state.network.about;
  element('rule').textContent = RULES.get(activation) ?? UNKNOWN_RULE;
}

function chip(index) {
  const button = document.createElement('button');
  Object.assign(button, {type: 'button', className: 'chip', textContent: label(index)});
  button.setAttribute('aria-pressed', 'true');
  button.onclick = () => {
    button.setAttribute('aria-pressed', String(!state.kept.includes(index)));
    readChips();
  };
  return button;
}

// Keeps the categories whose chips are pressed.
function readChips() {
  const pressed = button => button.getAttribute('aria-pressed') === 'true';
  const chips = [...element('chips').children];
  state.kept = chips.flatMap((button, i) => (pressed(button) ? [i] : []));
  showResults();
}

function press(all) {
  for (const button of element('chips').children) button.setAttribute('aria-pressed', String(all));
  readChips();
}

function slider(index, name, limit) {
  const row = document.createElement('label');
  const range = document.createElement('input');
  const value = document.createElement('output');
  Object.assign(range, {type: 'range', min: 0, max: limit, step: 0.05, value: 1});
  row.className = 'gain';
  row.append(name, range, value);
  value.textContent = '1';
  range.oninput = () => {
    state.gains[index] = Number(range.value);
    value.textContent = range.value;
    enqueue(classify);
  };
  return row;
}

function neutral() {
  for (const row of element('sliders').children) {
    row.querySelector('input').value = 1;
    row.querySelector('output').textContent = '1';
  }
  state.gains.fill(1);
  enqueue(classify);
}

// Runs the network on the image, if both are loaded.
async function classify() {
  const {network, source} = state;
  if (!network || !source) return;
  const start = performance.now();
  const pixels = square(await source(network.size), network.size);
  const preprocessing = performance.now() - start;
  const key = signature().key;
  const prediction = await run(network, pixels, {signature: key, gains: state.gains ?? undefined});
  Object.assign(state, {pixels, prediction});
  showInput(pixels, network.size);
  element('latency').textContent =
    `Image ${preprocessing.toFixed(1)} ms, network ${prediction.milliseconds.toFixed(1)} ms`;
  showResults();
}

function showInput(pixels, size) {
  const canvas = element('input');
  Object.assign(canvas, {width: size, height: size});
  const image = new ImageData(size, size);
  for (let i = 0; i < size * size; i++) {
    image.data.set(pixels.subarray(3 * i, 3 * i + 3), 4 * i);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext('2d').putImageData(image, 0, 0);
}

function showResults() {
  const {network, prediction, kept} = state;
  const ready = network && prediction;
  element('measure').hidden = !ready;
  element('unknown').hidden = true;
  if (!ready) {
    element('results').replaceChildren();
    return;
  }
  const scores = subset(prediction.scores, kept, network.about.activation);
  const best = kept.map((index, i) => [label(index), scores[i]]).sort((a, b) => b[1] - a[1]);
  element('results').replaceChildren(...best.slice(0, TOP).map(([name, score]) => {
    const row = document.createElement('li');
    const bar = document.createElement('meter');
    bar.value = score || 0;
    row.dataset.score = score;
    row.append(name, bar, Number.isNaN(score) ? 'no score' : score.toFixed(3));
    return row;
  }));
  // The decision is for the logits of all categories, so it is not shown for some of them.
  element('unknown').hidden = !prediction.none || kept.length < prediction.scores.length;
}

async function measure() {
  const times = [];
  for (let i = 0; i < RUNS; i++) {
    const {milliseconds} = await run(state.network, state.pixels, {signature: signature().key});
    times.push(milliseconds);
  }
  const median = times.sort((a, b) => a - b)[RUNS / 2];
  element('latency').textContent = `Median of ${RUNS} runs: ${median.toFixed(2)} ms`;
}

async function startCamera() {
  const video = element('video');
  video.srcObject = await navigator.mediaDevices.getUserMedia({video: {facingMode: 'environment'}});
  video.hidden = element('capture').hidden = false;
}

function capture() {
  const video = element('video');
  const frame = pixelsOf(video, video.videoWidth, video.videoHeight);
  state.source = async () => frame;
  enqueue(classify);
}

function setUp() {
  const maxThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
  const counts = [1, 2, 4, 8].filter(count => count <= maxThreads);
  element('threads').replaceChildren(...counts.map(count => new Option(count)));
  element('file').onchange = ({target: {files: [file]}}) => {
    if (file) enqueue(async () => open(new Uint8Array(await file.arrayBuffer()), file.name));
  };
  element('image').onchange = ({target: {files: [file]}}) => {
    if (!file) return;
    state.source = size => decode(file, size);
    enqueue(classify);
  };
  element('threads').onchange = () => {
    const name = element('about').textContent.split(':')[0];
    if (state.bytes) enqueue(() => open(state.bytes, name));
  };
  element('signature').onchange = () => enqueue(async () => {
    state.prediction = null;
    showSignature();
    await classify();
  });
  element('camera').onclick = () => enqueue(startCamera);
  element('capture').onclick = capture;
  element('all').onclick = () => press(true);
  element('none').onclick = () => press(false);
  element('neutral').onclick = neutral;
  element('measure').onclick = () => enqueue(measure);
}

// Opens the file of `serve.py --model FILE`, if there is one.
async function openServed() {
  const answer = await fetch('model');
  if (answer.status !== 200) return;
  const name = decodeURIComponent(answer.headers.get('X-Name') ?? 'model.tflite');
  await open(new Uint8Array(await answer.arrayBuffer()), name);
}

setUp();
enqueue(openServed);
