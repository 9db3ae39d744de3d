// The page of validation images: mistakes, confusion, accuracy of any cutout, gains. Everything is
// computed from the logits in validation.json: a cutout's logits are columns of the network's.

import {reader} from './reader.js';
import {softmax} from './tensors.js';
import {chips, make, pressChips} from './views.js';

const DATA = new URL('data/', location.href);
const MOST = 60; // mistakes shown
const WIDEST = 100; // categories of a confusion table

const element = id => document.getElementById(id);
let facts = null;
const chosen = new Set(); // indices of categories, as text
let cell = null; // [truth, predicted] whose images are shown

/** The best of some columns of a row of logits. */
export const best = (row, columns) => columns.reduce((a, b) => (row[b] > row[a] ? b : a));

/**
 * What a cutout does on the images of its categories.
 *
 * @param {number[][]} logits per image, of all categories.
 * @param {number[]} truth per image.
 * @param {number[]} columns the categories of the cutout.
 * @returns {{image: number, truth: number, predicted: number, confidence: number}[]}
 */
export function predict(logits, truth, columns) {
  return truth.flatMap((category, image) => {
    if (!columns.includes(category)) return [];
    const predicted = best(logits[image], columns);
    const confidence = softmax(columns.map(c => logits[image][c]))[columns.indexOf(predicted)];
    return [{image, truth: category, predicted, confidence}];
  });
}

const accuracy = rows => rows.filter(row => row.truth === row.predicted).length / rows.length;
const percent = share => (Number.isNaN(share) ? 'no image' : `${(100 * share).toFixed(1)} %`);

function show() {
  const {categories, logits, truth} = facts;
  const columns = categories.map((_, i) => i).filter(i => chosen.has(String(i)));
  pressChips(element('chips'), chosen);
  element('count').textContent = `${columns.length} of ${categories.length}`;
  const mine = predict(logits, truth, columns);
  const everything = predict(logits, truth, categories.map((_, i) => i))
    .filter(row => columns.includes(row.truth));
  element('saving').textContent = columns.length
    ? `${percent(accuracy(mine))}, full network ${percent(accuracy(everything))}` : '';
  showAccuracy(columns, mine, everything);
  showConfusion(columns, mine);
  showMistakes(mine);
}

function showAccuracy(columns, mine, everything) {
  const bar = (name, title, share) => {
    const line = make('span', {className: 'bar'}, make('i'));
    line.firstChild.style.width = `${100 * (share || 0)}%`;
    return make('div', {className: 'row', dataset: {network: name, value: share}},
      make('span', {className: 'name'}, title), make('span', {className: 'value'}, percent(share)),
      line);
  };
  element('accuracy').replaceChildren(...columns.map(category => {
    const of = rows => accuracy(rows.filter(row => row.truth === category));
    return make('section', {className: 'cost'}, make('h3', {}, facts.categories[category]),
      bar('chosen', 'Cutout', of(mine)), bar('full', 'Full network', of(everything)));
  }));
}

function showConfusion(columns, mine) {
  const {categories} = facts;
  if (columns.length > WIDEST) {
    element('confusion').replaceChildren(`Choose ${WIDEST} categories at most to see their table.`);
    return;
  }
  const count = (t, p) => mine.filter(row => row.truth === t && row.predicted === p).length;
  const head = make('tr', {}, make('td'),
    ...columns.map(c => make('th', {scope: 'col'}, make('span', {}, categories[c]))));
  const rows = columns.map(t => {
    const counts = columns.map(p => count(t, p));
    const total = counts.reduce((a, b) => a + b, 0);
    return make('tr', {}, make('th', {scope: 'row'}, categories[t]), ...columns.map((p, i) => {
      const button = make('button', {
        type: 'button',
        ariaLabel: `${counts[i]} images of ${categories[t]} called ${categories[p]}`,
        onclick: () => { cell = [t, p]; show(); },
      }, counts[i] ? String(counts[i]) : '');
      const share = total ? counts[i] / total : 0;
      const color = t === p ? 'var(--accent)' : 'var(--bad)';
      button.style.background = `color-mix(in oklab, ${color} ${Math.round(45 * share)}%, var(--card))`;
      return make('td', {}, button);
    }));
  });
  element('confusion').replaceChildren(make('table', {}, head, ...rows));
}

function showMistakes(mine) {
  const {categories, names} = facts;
  const shown = mine.filter(row => cell ? row.truth === cell[0] && row.predicted === cell[1]
    : row.truth !== row.predicted).sort((a, b) => b.confidence - a.confidence);
  const total = cell ? `${categories[cell[0]]} called ${categories[cell[1]]}: ${shown.length}`
    : `${shown.length} of ${mine.length} images` +
      (shown.length > MOST ? `; the ${MOST} most confident ones` : ', the most confident first');
  element('filter').textContent = total;
  element('any').hidden = cell === null;
  element('mistakes').replaceChildren(...shown.slice(0, MOST).map(row => {
    const label = `${names[row.image]}: ${categories[row.truth]}, called ` +
      `${categories[row.predicted]} with ${percent(row.confidence)}`;
    const figure = make('figure', {title: label}, thumbnail(row.image, label),
      make('figcaption', {}, make('b', {}, categories[row.predicted]),
        make('span', {}, `is ${categories[row.truth]}`)));
    figure.setAttribute('role', 'listitem');
    return figure;
  }));
}

// A part of a sheet of thumbnails.
function thumbnail(image, label) {
  const {side, sheets, thumbnail: size} = facts;
  const at = image % side ** 2;
  const picture = make('div', {className: 'thumbnail', role: 'img', ariaLabel: label});
  const file = new URL(sheets[Math.floor(image / side ** 2)], DATA);
  const [left, top] = [at % side, Math.floor(at / side)].map(i => -i * size);
  picture.style.background = `url(${file}) ${left}px ${top}px`;
  return picture;
}

// The curves of the sweeps, as SVG.
function showSweeps(sweeps) {
  element('sweep').hidden = sweeps.length === 0;
  const [width, height, left, bottom] = [640, 260, 56, 34];
  element('curves').replaceChildren(...sweeps.map(({name, gains, right, wrong}) => {
    const measured = values => values.every(value => value !== null);
    const curves = Object.entries({'Right cue': right, 'Wrong cue': wrong})
      .filter(([, values]) => measured(values));
    const all = curves.flatMap(([, values]) => values);
    const [low, high] = [Math.min(...all), Math.max(...all)];
    const x = i => left + (width - left - 12) * i / (gains.length - 1);
    const y = v => 12 + (height - bottom - 12) * (high - v) / (high - low || 1);
    const paths = curves.map(([title, values], k) => {
      const points = values.map((v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`).join(' ');
      return `<polyline class="curve c${k}" points="${points}"><title>${title}</title></polyline>`;
    });
    const ticks = gains.map((gain, i) => `<text x="${x(i)}" y="${height - 14}">${gain}</text>`);
    const ends = [low, high].map(v => `<text class="end" x="${left - 6}" y="${y(v) + 4}">` +
      `${percent(v)}</text>`);
    const figure = make('figure', {className: 'curves'});
    figure.innerHTML = `<svg viewBox="0 0 ${width} ${height}" role="img">${paths.join('')}` +
      `${ticks.join('')}${ends.join('')}</svg>`;
    figure.firstChild.setAttribute('aria-label', `Accuracy over the gain of ${name}`);
    figure.append(make('figcaption', {}, `${name}: `, make('b', {className: 'c0'}, 'right cue'),
      ', ', make('b', {className: 'c1'}, 'wrong cue'), ' over the gain'));
    return figure;
  }));
}

async function start() {
  const bytes = await reader(DATA)('validation.json');
  facts = JSON.parse(new TextDecoder().decode(bytes));
  const {categories, dataset, sweeps, truth} = facts;
  element('about').textContent = `${truth.length} validation images of ${dataset}, ` +
    'computed by Keras in float32';
  categories.forEach((_, i) => chosen.add(String(i)));
  const tree = categories.map((label, i) => ({id: String(i), label}));
  const choose = (ids, on) => {
    cell = null;
    for (const id of ids) on ? chosen.add(id) : chosen.delete(id);
    show();
  };
  element('chips').replaceChildren(...chips(tree, choose));
  element('all').onclick = () => choose(tree.map(({id}) => id), true);
  element('none').onclick = () => choose(tree.map(({id}) => id), false);
  element('any').onclick = () => { cell = null; show(); };
  show();
  showSweeps(sweeps);
}

start().catch(error => {
  element('error').textContent = error.message;
  element('error').hidden = false;
});
