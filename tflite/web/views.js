// What the page draws: chips, results, bars of costs, sliders, maps over the image.

import {nodes} from './tree.js';

const TOP = 5; // categories among the results
const SEARCH_FROM = 13; // categories from which a search field helps

/** An element: `make('button', {type: 'button'}, 'text', child, ...)`. */
export function make(tag, properties = {}, ...children) {
  const {dataset, ...rest} = properties;
  const element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.dataset, dataset);
  element.append(...children);
  return element;
}

// Chips ------------------------------------------------------------------------------------------

/**
 * One chip per category, in a box per superclass. A superclass's chip stands for its categories.
 *
 * @param {object[]} tree nodes.
 * @param {(ids: string[], on: boolean) => void} choose called with the categories of a chip.
 */
export function chips(tree, choose) {
  return tree.map(node => {
    const ids = nodes([node]).filter(each => !each.children).map(each => each.id);
    const chip = make('button', {
      type: 'button',
      className: node.children ? 'chip superclass' : 'chip',
      dataset: {ids: ids.join(' '), label: node.label},
      onclick: () => choose(ids, chip.getAttribute('aria-pressed') !== 'true'),
    }, node.label);
    if (!node.children) return chip;
    const group = make('div', {className: 'group'}, chip, ...chips(node.children, choose));
    group.setAttribute('role', 'group');
    group.setAttribute('aria-label', node.label);
    return group;
  });
}

/** Presses the chips of the chosen categories; a superclass's is mixed if only some are. */
export function pressChips(box, chosen) {
  for (const chip of box.querySelectorAll('.chip')) {
    const ids = chip.dataset.ids.split(' ');
    const count = ids.filter(id => chosen.has(id)).length;
    const pressed = count === 0 ? 'false' : count === ids.length ? 'true' : 'mixed';
    chip.setAttribute('aria-pressed', pressed);
  }
}

/** Hides the chips that a search does not name; shows the search where there are many. */
export function searchChips(box, text) {
  const wanted = text.trim().toLowerCase().normalize();
  for (const chip of box.querySelectorAll('.chip')) {
    const path = [chip.dataset.label];
    for (let up = chip.closest('.group'); up; up = up.parentElement.closest('.group')) {
      path.push(up.ariaLabel);
    }
    chip.hidden = !path.some(label => label.toLowerCase().includes(wanted));
  }
  for (const group of box.querySelectorAll('.group')) {
    group.hidden = !group.querySelector('.chip:not([hidden])');
  }
}

export const needsSearch = categories => categories.length >= SEARCH_FROM;

// Results ----------------------------------------------------------------------------------------

/** Shows the best categories; updates rows where they are, so that a live camera is calm. */
export function showResults(list, labels, scores) {
  const best = labels.map((label, i) => [label, scores[i]])
    .sort((a, b) => b[1] - a[1]).slice(0, TOP);
  while (list.children.length > best.length) list.lastChild.remove();
  while (list.children.length < best.length) {
    list.append(make('li', {}, make('span', {className: 'name'}), make('span', {className: 'value'}),
      make('span', {className: 'bar'}, make('i'))));
  }
  best.forEach(([label, score], i) => {
    const row = list.children[i];
    const [name, value, bar] = row.children;
    row.dataset.score = score;
    name.textContent = label;
    value.textContent = Number.isNaN(score) ? 'no score' : score.toFixed(3);
    bar.firstChild.style.width = `${100 * Math.max(0, Math.min(1, score || 0))}%`;
  });
}

// Costs ------------------------------------------------------------------------------------------

const UNITS = {
  params: ['Parameters', value => short(value)],
  macs: ['MACs', value => short(value)],
  bytes: ['File size', value => `${short(value)}B`],
  ms: ['Time, measured', value => `${value.toPrecision(value < 100 ? 3 : 4)} ms`],
};

/** Writes a large number with a prefix: 1234567 becomes "1.23 M". */
export function short(value) {
  for (const [factor, prefix] of [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) {
    if (value >= factor) return `${(value / factor).toPrecision(3)} ${prefix}`;
  }
  return `${value} `;
}

/**
 * Shows costs as bars. A bar that is there already changes its length.
 *
 * @param {Element} box where they are.
 * @param {{name: string, title: string, values: object}[]} networks with `params`, `macs`, `bytes`
 *   and `ms`; a number that is missing is not known yet, null is never known.
 */
export function showCosts(box, networks) {
  for (const [key, [title, format]] of Object.entries(UNITS)) {
    const card = box.querySelector(`[data-cost=${key}]`) ?? box.appendChild(
      make('section', {className: 'cost', dataset: {cost: key}}, make('h3', {}, title)));
    const most = Math.max(...networks.map(({values}) => values[key] ?? 0));
    card.hidden = most === 0 && key !== 'ms';
    for (const {name, title: label, values} of networks) {
      const row = card.querySelector(`[data-network=${name}]`) ?? card.appendChild(
        make('div', {className: 'row', dataset: {network: name}}, make('span', {className: 'name'}),
          make('span', {className: 'value'}), make('span', {className: 'bar'}, make('i'))));
      const [text, number, bar] = row.children;
      text.textContent = label;
      const value = values[key];
      number.textContent = value === undefined ? '...' : value === null ? 'not measured' : format(value);
      row.dataset.value = value ?? '';
      // A bar stays until its next number is known.
      if (value !== undefined) bar.firstChild.style.width = `${most ? 100 * value / most : 0}%`;
    }
    const names = new Set(networks.map(({name}) => name));
    for (const row of card.querySelectorAll('.row')) {
      if (!names.has(row.dataset.network)) row.remove();
    }
  }
}

// Sliders ----------------------------------------------------------------------------------------

/** A labeled slider; `change` is called with the new value. */
export function slider({label, min, max, step = 0.05, value, change, indent = 0}) {
  const output = make('output', {}, String(value));
  const range = make('input', {type: 'range', min, max, step, value});
  range.oninput = () => {
    output.textContent = range.value;
    change(Number(range.value));
  };
  const row = make('label', {className: 'slider'}, make('span', {className: 'name'}, label), range,
    output);
  row.style.setProperty('--indent', indent);
  return row;
}

// The image --------------------------------------------------------------------------------------

/** Draws what the network sees: RGB pixels of a square. */
export function drawPixels(canvas, pixels, size) {
  if (canvas.width !== size) Object.assign(canvas, {width: size, height: size});
  const image = new ImageData(size, size);
  for (let i = 0; i < size * size; i++) {
    image.data.set(pixels.subarray(3 * i, 3 * i + 3), 4 * i);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext('2d').putImageData(image, 0, 0);
}

/** Draws a map over the image: 0 is transparent, the largest value glows. */
export function drawHeat(canvas, {values, height, width}) {
  Object.assign(canvas, {width, height});
  const image = new ImageData(width, height);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  values.forEach((value, i) => {
    const heat = high > low ? (value - low) / (high - low) : 0;
    image.data.set([255, 200 - 150 * heat, 30, 220 * heat], 4 * i);
  });
  canvas.getContext('2d').putImageData(image, 0, 0);
}

/** Draws which positions changed. */
export function drawChanges(canvas, changed, size) {
  Object.assign(canvas, {width: size, height: size});
  const image = new ImageData(size, size);
  changed.forEach((yes, i) => yes && image.data.set([0, 200, 255, 150], 4 * i));
  canvas.getContext('2d').putImageData(image, 0, 0);
}
