// Compares the page in a browser with Python: `make test-web`. FILES is a folder written by
// make_files.py, CHROMIUM the browser, PYTHON the interpreter that runs serve.py.

import assert from 'node:assert/strict';
import {spawn, spawnSync} from 'node:child_process';
import {
  cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {after, before, test} from 'node:test';
import {fileURLToPath} from 'node:url';

import {chromium} from 'playwright-core';

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
  '--disable-background-networking', '--disable-component-update',
  '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', // a simulated camera
];
const {FILES, CHROMIUM, PYTHON = 'python3'} = process.env;
const HERE = dirname(fileURLToPath(import.meta.url));
const PNG = ['shapes.png', 'small.png', 'gray.png', 'flower.png', 'tall.png'];
const expected = JSON.parse(readFileSync(join(FILES, 'expected.json'), 'utf8'));

const VIEWS = {wide: {width: 1280, height: 900}, narrow: {width: 390, height: 844}};
const PATIENCE = 240_000; // milliseconds; ends only what hangs
const profile = mkdtempSync(join(tmpdir(), 'page-test-'));
const servers = [];
let context, urls;

// Starts a server and returns its address, once it prints one.
function serve(...args) {
  const server = spawn(PYTHON, args, {env: {...process.env, PYTHONUNBUFFERED: '1'}});
  servers.push(server);
  server.stderr.on('data', data => process.env.VERBOSE && process.stderr.write(data));
  return new Promise((resolve, reject) => {
    server.stdout.on('data', data => {
      const found = /http:\/\/127[^ )]+/.exec(data);
      if (found) resolve(found[0]);
    });
    server.on('exit', code => reject(new Error(`${args.join(' ')} ended with ${code}`)));
  });
}

before(async () => {
  const offer = (folder, ...more) =>
    serve(join(HERE, 'serve_data.py'), join(FILES, folder), ...more);
  const page = join(HERE, '..', 'serve.py');
  const [nested, ten, file, onlyPack] = await Promise.all([
    offer('nested', join(FILES, 'nested.keras')),
    offer('ten'),
    serve(page, join(FILES, 'float.tflite'), '--port', '0'),
    serve(page, join(FILES, 'only_pack', 'pack'), '--port', '0'),
  ]);
  urls = {nested, ten, file, onlyPack};
  const options = {executablePath: CHROMIUM, headless: true, args: FLAGS, viewport: VIEWS.wide};
  context = await chromium.launchPersistentContext(profile, options);
  context.setDefaultTimeout(PATIENCE);
});

after(async () => {
  await context?.close();
  for (const server of servers) {
    server.removeAllListeners('exit');
    server.kill();
  }
  rmSync(profile, {recursive: true, force: true, maxRetries: 5});
});

// Opens the page and waits for the served network.
async function open(which = 'file', view = 'wide') {
  const page = await context.newPage();
  await page.setViewportSize(VIEWS[view]);
  page.on('pageerror', error => assert.fail(error));
  await page.goto(urls[which]);
  await page.waitForFunction(() => document.querySelectorAll('.chip').length > 0);
  await settled(page);
  return page;
}

const base64 = name => readFileSync(join(FILES, name)).toString('base64');
const difference = (a, b) => {
  assert.equal(a.length, b.length);
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
};

// Calls the page's functions on images, without the controls.
async function predict(page, file, images, {signature, gains, threads = 1} = {}) {
  const given = {file: base64(file), images: images.map(base64), signature, gains, threads};
  return page.evaluate(async ({file, images, signature, gains, threads}) => {
    const {load, run} = await import('/network.js');
    const {decode, square} = await import('/image.js');
    const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    const network = await load(bytes(file), threads);
    const found = [];
    for (const image of images) {
      const pixels = square(await decode(new Blob([bytes(image)]), network.size), network.size);
      const {scores, none} = await run(network, pixels, {signature, gains});
      found.push({pixels: [...pixels], scores: [...scores], none});
    }
    network.close();
    return found;
  }, given);
}

// The scores that the page shows, by label.
async function shown(page) {
  return page.$$eval('#results li', rows =>
    Object.fromEntries(rows.map(row =>
      [row.querySelector('.name').textContent, Number(row.dataset.score)])));
}

async function chooseImage(page, name) {
  await page.setInputFiles('#image', join(FILES, name));
  await page.waitForSelector('#results li');
  await settled(page);
}

async function chooseFile(page, name) {
  await page.setInputFiles('#file', join(FILES, name));
  await page.waitForFunction(
    name => document.querySelector('#about').textContent.startsWith(`${name} `), name);
  await settled(page);
}

// Waits until the page has finished all actions.
const settled = page => page.evaluate(async () => (await import('/page.js')).settled());

test('squares equal those of Pillow, bit for bit', async () => {
  const page = await open();
  const references = join(HERE, '..', '..', '..', 'tests', 'references', 'squares.json');
  const cases = JSON.parse(readFileSync(references, 'utf8'));
  const found = await page.evaluate(async cases => {
    const {square} = await import('/image.js');
    const bytes = text => Uint8ClampedArray.from(atob(text), letter => letter.charCodeAt(0));
    return cases.map(({width, height, size, rgba}) =>
      [...square(new ImageData(bytes(rgba), width, height), size)]);
  }, cases);
  for (const [i, {width, height, size, square}] of cases.entries()) {
    const wanted = [...Buffer.from(square, 'base64')];
    assert.deepEqual(found[i], wanted, `${width} x ${height} to ${size}`);
  }
  await page.close();
});

test('transparent parts are composed over white', async t => {
  const page = await open();
  const [{pixels}] = await predict(page, 'float.tflite', ['transparent.png']);
  const most = difference(pixels, expected.pixels['transparent.png']);
  t.diagnostic(`transparent.png: pixels differ by ${most} at most`);
  assert.ok(most <= 1, String(most));
  await page.close();
});

test('pixels equal those in Python for PNG, and nearly for JPEG', async t => {
  const page = await open();
  const names = Object.keys(expected.pixels);
  const found = await predict(page, 'float.tflite', names);
  for (const [i, name] of names.entries()) {
    const {pixels} = found[i];
    const most = difference(pixels, expected.pixels[name]);
    const mean = pixels.reduce((sum, value, j) =>
      sum + Math.abs(value - expected.pixels[name][j]), 0) / pixels.length;
    t.diagnostic(`${name}: pixels differ by ${most} at most, ${mean.toFixed(3)} on average`);
    if (name === 'transparent.png') continue; // compared above
    if (PNG.includes(name)) assert.equal(most, 0, name);
    else assert.ok(mean < 1, name); // 1.9 without partial decoding
  }
  await page.close();
});

// Largest differences: one step of 8 bits, float rounding, and the scales of the dynamic file.
const BOUNDS = {
  uint8: 1 / 256, float: 1e-5, int8: 1 / 256, unsure: 0.02, gains: 1 / 256,
  'several.five': 1 / 256, 'several.three': 1 / 256,
};
test("scores equal those of Python's Runner", async t => {
  const page = await open();
  for (const [name, bound] of Object.entries(BOUNDS)) {
    const [file, signature] = name.split('.');
    const gains = name === 'gains' ? expected.gains : undefined;
    for (const threads of ['uint8', 'float'].includes(name) ? [1, 2] : [1]) {
      const found = await predict(page, `${file}.tflite`, PNG, {signature, gains, threads});
      const errors = found.map(({scores, none}, i) => {
        const wanted = expected.scores[name][PNG[i]];
        assert.equal(none, wanted.none);
        return difference(scores, wanted.scores);
      });
      const most = Math.max(...errors);
      t.diagnostic(`${name}, ${threads} thread(s): scores differ by ${most.toExponential(1)}`);
      assert.ok(most <= bound, `${name}: ${most} > ${bound}`);
    }
  }
  await page.close();
});

test('scores of JPEGs nearly equal those in Python', async t => {
  const page = await open();
  const names = Object.keys(expected.pixels).filter(name => name.endsWith('.jpg'));
  const found = await predict(page, 'float.tflite', names);
  for (const [i, name] of names.entries()) {
    const most = difference(found[i].scores, expected.scores.float[name].scores);
    t.diagnostic(`${name}: scores differ by ${most.toExponential(1)}`);
    assert.ok(most < 0.01, name);
  }
  await page.close();
});

// Single files -----------------------------------------------------------------------------------

test('a single file: served, opened, chosen from, steered', async () => {
  const page = await open();
  assert.equal(await page.evaluate(() => self.crossOriginIsolated), true); // threads are allowed
  assert.match(await page.textContent('#about'), /^float · float32 · 96 × 96 pixels · 5 categories/);
  await chooseImage(page, 'flower.png');
  const wanted = expected.scores.float['flower.png'].scores;
  const plain = await shown(page);
  assert.ok(difference(expected.categories.map(name => plain[name]), wanted) <= 1e-5);
  await page.click('#none');
  assert.deepEqual(await shown(page), {});
  for (const name of expected.three) await page.click(`.chip:text-is("${name}")`);
  await settled(page);
  const three = await shown(page);
  const cut = expected.scores.three['flower.png'].scores;
  assert.ok(difference(expected.three.map(name => three[name]), cut) <= 1e-5);
  await chooseFile(page, 'gains.tflite');
  await page.click('#attention summary');
  assert.equal(Number(await page.getAttribute('#gains input', 'max')), 255 / 127);
  const sliders = await page.$$('#gains input');
  for (const [i, slider] of sliders.entries()) await slider.fill(String(expected.gains[i]));
  await settled(page);
  const scores = await shown(page);
  const steered = expected.scores.gains['flower.png'].scores;
  assert.ok(difference(expected.categories.map(name => scores[name]), steered) <= 1 / 256);
  await page.click('#neutral');
  await settled(page);
  const neutral = await shown(page);
  assert.ok(difference(expected.categories.map(name => neutral[name]), wanted) <= 0.05); // int8
  await page.close();
});

test('signatures and threads can be chosen; none of these is shown', async () => {
  const page = await open();
  await chooseImage(page, 'shapes.png');
  await chooseFile(page, 'several.tflite');
  await page.selectOption('#signature', 'three');
  await settled(page);
  assert.deepEqual(Object.keys(await shown(page)).sort(), [...expected.three].sort());
  await page.selectOption('#threads', '2');
  await settled(page);
  assert.match(await page.textContent('#condition'), /2 threads/);
  await chooseFile(page, 'unsure.tflite');
  const none = await page.isVisible('#unknown');
  assert.equal(none, expected.scores.unsure['shapes.png'].none);
  await page.click('.chip');
  await settled(page);
  assert.ok(await page.isHidden('#unknown')); // the decision is for all categories
  await page.close();
});

// Packs ------------------------------------------------------------------------------------------

// Runs a pack in the page, without the controls.
async function runPack(page, base, images, categories, gains = null) {
  const given = {base, images: images.map(base64), categories, gains};
  return page.evaluate(async ({base, images, categories, gains}) => {
    const {openServed} = await import('/models.js');
    const {decode, square} = await import('/image.js');
    const model = await openServed(new URL('data/', base), 1);
    const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    const found = [];
    for (const image of images) {
      const pixels = square(await decode(new Blob([bytes(image)]), model.size), model.size);
      const options = gains ? {gains, heat: true} : undefined;
      const {logits, scores, activity} =
        await model.run(pixels, categories ?? model.categories, options);
      found.push({logits: [...logits], scores, cat: [...activity?.cat?.values ?? []]});
    }
    await model.close();
    return found;
  }, given);
}

// Images whose pixels equal Python's.
const pngs = () => expected.packs.images.flatMap((name, i) => PNG.includes(name) ? [[name, i]] : []);

for (const [pack, bound] of [['nested', 1e-6], ['ten', 0]]) {
  test(`${pack}: logits equal those of Python's PackRunner`, async t => {
    const page = await open(pack);
    const {some, ...choices} = expected.packs[pack];
    for (const [choice, wanted] of Object.entries(choices)) {
      const names = pngs().map(([name]) => name);
      const found = await runPack(page, urls[pack], names, choice === 'all' ? null : some);
      for (const [i, [name, row]] of pngs().entries()) {
        const largest = Math.max(...wanted.logits[row].map(Math.abs), 1);
        const most = difference(found[i].logits, wanted.logits[row]) / largest;
        t.diagnostic(`${choice}, ${name}: logits differ by ${most.toExponential(1)}`);
        assert.ok(most <= bound, `${choice}, ${name}: ${most}`);
        assert.ok(difference(found[i].scores, wanted.scores[row]) <= 1e-6);
      }
    }
    await page.close();
  });
}

test('the trunk and the branches of the chosen categories run, no others', async () => {
  const page = await open('nested');
  const ran = await page.evaluate(async () => {
    const {openPack} = await import('/pack.js');
    const {reader} = await import('/reader.js');
    const pack = await openPack(reader(new URL('data/pack/', location.href)));
    await pack.prepare(pack.categories); // all branches are loaded
    const names = [];
    const watch = (engine, name) => {
      const {run} = engine;
      engine.run = (...given) => {
        names.push(name);
        return run.apply(engine, given);
      };
    };
    watch(pack.trunk, 'trunk');
    for (const [id, engine] of pack.engines) watch(await engine, id);
    await pack.run(new Uint8Array(3 * pack.size ** 2), ['ship', 'cat']);
    await pack.close();
    return names;
  });
  assert.deepEqual(ran, ['trunk', 'animal', 'cat', 'ship']);
  await page.close();
});

test('gains and activity equal those of Keras', async () => {
  const page = await open('nested');
  const {gains, logits, cat} = expected.packs.steered;
  const found = await runPack(page, urls.nested, pngs().map(([name]) => name), null, gains);
  for (const [i, [name, row]] of pngs().entries()) {
    assert.ok(difference(found[i].logits, logits[row]) <= 1e-4, name);
    assert.ok(difference(found[i].cat, cat[row]) <= 1e-4, name);
  }
  await page.close();
});

// Refuses what axe calls serious.
async function checkAccess(page) {
  await page.addScriptTag({path: join(HERE, '..', 'node_modules', 'axe-core', 'axe.min.js')});
  const {violations} = await page.evaluate(() => window.axe.run());
  const serious = violations.filter(({impact}) => ['serious', 'critical'].includes(impact));
  assert.deepEqual(serious.map(({id, nodes}) => [id, nodes.map(({html}) => html)]), []);
}

// The numbers of the bars, per network.
const bars = (page, cost) => page.$$eval(`[data-cost=${cost}] .row`, rows =>
  Object.fromEntries(rows.map(row => [row.dataset.network, Number(row.dataset.value)])));

for (const view of Object.keys(VIEWS)) {
  test(`${view}: choosing categories shrinks the bars`, async () => {
    const page = await open('ten', view);
    await page.click('#examples button');
    await page.waitForSelector('#results li');
    await settled(page);
    const before = {};
    for (const cost of ['params', 'macs', 'bytes', 'ms']) before[cost] = await bars(page, cost);
    for (const i of [1, 2, 3, 4, 5]) await page.click(`.chip:nth-child(${i})`);
    await settled(page);
    const facts = JSON.parse(readFileSync(join(FILES, 'ten', 'explorer.json'), 'utf8'));
    const five = Object.keys(facts.parts).filter(id => !/_[0-4]$/.test(id));
    for (const cost of ['params', 'macs', 'bytes']) {
      const {chosen, full, plain} = await bars(page, cost);
      assert.equal(chosen, five.reduce((sum, id) => sum + facts.parts[id][cost], 0));
      assert.ok(chosen < before[cost].chosen);
      assert.equal(full, Object.values(facts.parts).reduce((sum, part) => sum + part[cost], 0));
      assert.equal(plain, facts.networks.plain[cost]);
    }
    const {chosen, full, plain} = await bars(page, 'ms');
    assert.ok(chosen > 0 && full > 0 && plain > 0);
    assert.equal(await page.textContent('#count'), '5 of 10');
    for (const id of ['results', 'chips', 'bars']) { // seen without scrolling
      const box = await page.locator(`#${id}`).boundingBox();
      const bottom = id === 'bars' ? box.y : box.y + box.height;
      assert.ok(bottom <= VIEWS[view].height, `${id} ends at ${bottom}`);
    }
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= VIEWS[view].width, `the page is ${width} wide`);
    await page.close();
  });

  test(`${view}: axe finds nothing serious`, async () => {
    const page = await open('nested', view);
    await page.click('#examples button');
    await page.evaluate(() => document.querySelectorAll('details').forEach(x => (x.open = true)));
    await settled(page);
    await checkAccess(page);
    await page.close();
  });
}

test('superclasses choose their categories, by mouse and keyboard; a search finds both', async () => {
  const page = await open('nested');
  await page.click('#none');
  await page.locator('.chip:text-is("animal")').press('Space');
  await page.locator('.chip:text-is("dog")').press('Enter');
  await settled(page);
  const pressed = await page.$$eval('.chip', all =>
    Object.fromEntries(all.map(x => [x.textContent, x.getAttribute('aria-pressed')])));
  assert.deepEqual(pressed, {animal: 'mixed', cat: 'true', dog: 'false', ship: 'false'});
  const visible = await page.evaluate(async () => {
    const {searchChips} = await import('/views.js');
    searchChips(document.querySelector('#chips'), 'ANIM');
    return [...document.querySelectorAll('.chip:not([hidden])')].map(chip => chip.textContent);
  });
  assert.deepEqual(visible, ['animal', 'cat', 'dog']); // a superclass brings its categories
  await page.close();
});

test('sliders of gains and of the threshold act at once; the heat map is drawn', async () => {
  const page = await open('nested');
  await chooseImage(page, 'flower.png');
  await page.click('#attention summary');
  const row = expected.packs.images.indexOf('flower.png');
  for (const [name, gain] of Object.entries(expected.packs.steered.gains)) {
    await page.locator('.slider', {hasText: name}).locator('input').fill(String(gain));
  }
  await settled(page);
  const scores = Object.values(await shown(page));
  const {logits} = expected.packs.steered;
  const powers = logits[row].map(Math.exp);
  const wanted = powers.map(x => x / powers.reduce((a, b) => a + b)).sort((a, b) => b - a);
  assert.ok(difference(scores, wanted) <= 1e-4);
  assert.ok(await page.isHidden('#overlay'));
  await page.selectOption('#heat', 'cat');
  await settled(page);
  assert.ok(await page.isVisible('#overlay'));
  await page.click('#neutral');
  await page.selectOption('#heat', '');
  await page.click('#unknowns summary');
  const energy = expected.packs.nested.all.energy[row];
  await page.waitForFunction(text => document.querySelector('#energy').textContent.includes(text),
    energy.toFixed(2));
  const slider = page.locator('#threshold input');
  await slider.fill(String(Math.ceil(energy) + 1));
  assert.ok(await page.isVisible('#unknown'));
  await slider.fill(String(Math.floor(energy) - 1));
  assert.ok(await page.isHidden('#unknown'));
  await page.close();
});

test('the stored threshold decides for all categories', async () => {
  const page = await open('ten');
  for (const [name, row] of pngs()) {
    await chooseImage(page, name);
    assert.equal(await page.isVisible('#unknown'), expected.packs.ten.all.none[row], name);
  }
  await page.close();
});

// Images -----------------------------------------------------------------------------------------

test('images can be dropped and pasted', async () => {
  const page = await open('nested');
  const give = (event, image) => page.evaluate(({event, image}) => {
    const bytes = Uint8Array.from(atob(image), letter => letter.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], 'image.png', {type: 'image/png'}));
    const made = event === 'drop' ? new DragEvent('drop', {dataTransfer: data, bubbles: true})
      : new ClipboardEvent('paste', {clipboardData: data, bubbles: true});
    document.body.dispatchEvent(made);
  }, {event, image: base64(image)});
  for (const [event, image] of [['drop', 'flower.png'], ['paste', 'shapes.png']]) {
    await give(event, image);
    await settled(page);
    const wanted = expected.packs.nested.all.scores[expected.packs.images.indexOf(image)];
    const scores = Object.values(await shown(page));
    assert.ok(difference(scores, [...wanted].sort((a, b) => b - a)) <= 1e-6, event);
  }
  await page.close();
});

test('the camera runs, shows where it changed, and stops', async () => {
  const page = await open('nested');
  await page.click('#changes summary');
  await page.check('#show-changes');
  await page.click('#camera');
  await page.waitForFunction(() => /[1-9]\d* frames per second/.test(
    document.querySelector('#speed').textContent));
  await page.waitForSelector('#results li');
  await page.waitForFunction(() => /% changed/.test(document.querySelector('#share').textContent));
  assert.ok(await page.isVisible('#overlay'));
  assert.equal(await page.textContent('#error'), '');
  await page.click('#camera');
  await page.waitForSelector('#camera[aria-pressed=false]');
  await settled(page);
  assert.equal(Object.keys(await shown(page)).length, 3);
  await page.close();
});

test('a camera that is stopped while a frame runs, or is unplugged, leaves nothing behind', async () => {
  const page = await open('nested');
  await page.click('#changes summary');
  await page.check('#show-changes');
  const start = async () => {
    await page.click('#camera');
    await page.waitForFunction(() => document.querySelector('#speed').textContent !== '');
  };
  const leftovers = () => page.evaluate(() =>
    [document.querySelector('#speed').textContent, document.querySelector('#overlay').hidden]);
  await start();
  await page.evaluate(() => { // the click waits for a branch to run; meanwhile a frame comes
    for (const id of ['none', 'all', 'camera']) document.getElementById(id).click();
  });
  await page.waitForSelector('#camera[aria-pressed=false]');
  await settled(page);
  assert.deepEqual(await leftovers(), ['', true]);
  await start();
  await page.evaluate(() => {
    const [track] = document.querySelector('#video').srcObject.getVideoTracks();
    track.dispatchEvent(new Event('ended'));
  });
  await page.waitForSelector('#camera[aria-pressed=false]');
  await settled(page);
  assert.match(await page.textContent('#error'), /The camera has stopped/);
  assert.deepEqual(await leftovers(), ['', true]);
  await page.close();
});

test('changes equal those of the Python detector', async () => {
  const page = await open('nested');
  const {frames, changed} = expected.changes;
  const found = await page.evaluate(async frames => {
    const {Detector} = await import('/changes.js');
    const detector = new Detector(20);
    return frames.map(frame => [...detector.next(Uint8Array.from(frame)).changed]);
  }, frames);
  assert.deepEqual(found, [changed.map(() => 1), changed]);
  await page.close();
});

// Validation images ------------------------------------------------------------------------------

test('the accuracy of any cutout, its confusion and its mistakes', async () => {
  const page = await open('nested');
  await page.click('#data');
  await page.waitForSelector('#mistakes figure');
  await page.click('.chip:text-is("dog")');
  const {cutout, full} = expected.packs.validation;
  const percent = share => `${(100 * share).toFixed(1)} %`;
  const text = await page.textContent('#saving');
  assert.equal(text, `${percent(cutout)}, full network ${percent(full)}`);
  const cells = await page.$$eval('#confusion td button', all => all.map(x => Number(x.textContent)));
  assert.equal(cells.length, 4);
  assert.equal(cells.reduce((a, b) => a + b), 40); // of 60 squares
  assert.ok(Math.abs((cells[0] + cells[3]) / 40 - cutout) < 1e-9);
  const mistakes = await page.locator('#mistakes figure').count();
  assert.equal(mistakes, Math.min(60, cells[1] + cells[2]));
  await page.locator('#confusion td button').first().click(); // images that are right
  assert.equal(await page.locator('#mistakes figure').count(), cells[0]);
  assert.ok(await page.isVisible('#sweep .curve'));
  await checkAccess(page);
  await page.close();
});

// Take it with you -------------------------------------------------------------------------------

// What Python's PackRunner says of a zipped pack: labels, and logits of a gray image.
const CHECK = `
import json, sys, zipfile
import numpy as np
from keras_seqpar.mobile import PackRunner
with zipfile.ZipFile(sys.argv[1]) as archive:
    archive.extractall(sys.argv[2])
    runner = PackRunner(sys.argv[2] + "/" + archive.namelist()[0].split("/")[0])
print(json.dumps([runner.categories, runner(np.full((1, 32, 32, 3), 127, "uint8")).tolist()]))
`;

async function download(page, button) {
  const waiting = page.waitForEvent('download', {timeout: PATIENCE});
  const [file] = await Promise.all([waiting, page.click(button)]);
  return file;
}

test('the pack of the chosen categories comes as a zip that Python runs', async () => {
  const page = await open('nested');
  await page.click('#none');
  for (const name of ['cat', 'ship']) await page.click(`.chip:text-is("${name}")`);
  await page.evaluate(() => navigator.serviceWorker.ready);
  const file = await download(page, '#take-pack');
  assert.equal(file.suggestedFilename(), 'Nested-2.pack.zip');
  const folder = mkdtempSync(join(tmpdir(), 'pack-test-'));
  const done = spawnSync(PYTHON, ['-c', CHECK, await file.path(), folder], {encoding: 'utf8'});
  const [labels] = JSON.parse(done.stdout || assert.fail(done.stderr));
  assert.deepEqual(labels, ['cat', 'ship']);
  const names = readdirSync(join(folder, 'Nested-2.pack')).map(name => name.split('.')[0]).sort();
  assert.deepEqual(names, ['branch_animal', 'branch_cat', 'branch_ship', 'manifest', 'trunk']);
  rmSync(folder, {recursive: true});
  const text = await page.textContent('#lines');
  assert.match(text, /PackRunner\("Nested-2.pack", \["cat", "ship"\]\)/);
  assert.match(text, /nested.keras --categories "cat,ship" --output Nested-2.tflite/);
  await page.close();
});

test('the server makes the cutout as one .tflite, and says why it cannot', async () => {
  const page = await open('nested');
  await page.click('#none');
  assert.ok(await page.isDisabled('#take-file'));
  for (const name of ['cat', 'ship']) await page.click(`.chip:text-is("${name}")`);
  await chooseImage(page, 'flower.png');
  const wanted = await shown(page);
  const file = await download(page, '#take-file');
  await page.setInputFiles('#file', {
    name: file.suggestedFilename(),
    mimeType: 'application/octet-stream',
    buffer: readFileSync(await file.path()),
  });
  await page.waitForFunction(() => document.querySelector('#about').textContent.startsWith('Nested-2'));
  await settled(page);
  const scores = await shown(page);
  assert.deepEqual(Object.keys(scores), Object.keys(wanted));
  assert.ok(difference(Object.values(scores), Object.values(wanted)) <= 1e-5);
  const answer = await page.request.get(`${urls.nested}data/cutout.tflite?category=cow`);
  assert.equal(answer.status(), 400);
  assert.match(await answer.text(), /cow/);
  await page.close();
});

// Faults -----------------------------------------------------------------------------------------

test('what cannot be run is refused with a reason, and the last good state stays', async () => {
  const page = await open('ten');
  await chooseImage(page, 'flower.png');
  const before = [await shown(page), await page.textContent('#about')];
  const float = readFileSync(join(FILES, 'float.tflite'));
  const manifest = readFileSync(join(FILES, 'only_pack', 'pack', 'manifest.json'));
  const other = change => Buffer.from(JSON.stringify({...JSON.parse(manifest), ...change}));
  const cases = [
    ['#file', 'text.tflite', Buffer.from('no such file'), /is no .tflite file/],
    ['#file', 'half.tflite', float.subarray(0, 1000), /truncated or damaged/],
    ['#file', 'pack.zip', Buffer.from('no zip'), /is no zip archive/],
    ['#file', 'manifest.json', manifest, /The pack has no file trunk/],
    ['#file', 'manifest.json', manifest.subarray(0, 500), /manifest.json is truncated/],
    ['#file', 'manifest.json', other({mean: [1, 2]}), /damaged .its mean or std/],
    ['#file', 'manifest.json', other({hierarchy: {tree: [], categories: []}}), /damaged .its categ/],
    ['#file', 'manifest.json', other({trunk: {file: '../x'}}), /damaged .\.\.\/x is no name/],
    ['#image', 'broken.png', Buffer.from('no image'), /broken.png is no image/],
  ];
  for (const [input, name, buffer, message] of cases) {
    await page.setInputFiles(input, {name, mimeType: 'application/octet-stream', buffer});
    await page.waitForSelector('#error:not([hidden])');
    await settled(page);
    assert.match(await page.textContent('#error'), message);
    assert.deepEqual([await shown(page), await page.textContent('#about')], before, name);
    await page.click('#all'); // an action that works takes the message away
    await settled(page);
    assert.ok(await page.isHidden('#error'));
  }
  await page.setInputFiles('#file', join(FILES, 'ten.pack.zip')); // the page still works
  await page.waitForFunction(() => document.querySelector('#about').textContent.startsWith('ten.pack '));
  await settled(page);
  assert.deepEqual(await shown(page), before[0]);
  await page.close();
});

test('a branch that was changed is refused by its hash', async () => {
  const page = await open('onlyPack');
  const message = await page.evaluate(async () => {
    const {openPack} = await import('/pack.js');
    const {reader} = await import('/reader.js');
    const read = reader(new URL('data/pack/', location.href));
    const pack = await openPack(async name => {
      const bytes = await read(name);
      if (name.startsWith('branch')) bytes[bytes.length - 1] ^= 1;
      return bytes;
    });
    const error = await pack.prepare(pack.categories).catch(error => error);
    return error.message;
  });
  assert.match(message, /branch_.* is damaged or another file/);
  await page.close();
});

test('without a camera the page says so', async () => {
  const page = await open('nested');
  await page.evaluate(() => {
    navigator.mediaDevices.getUserMedia = async () => {
      throw new DOMException('', 'NotAllowedError');
    };
  });
  await page.click('#camera');
  await page.waitForSelector('#error:not([hidden])');
  assert.match(await page.textContent('#error'), /does not allow the camera/);
  assert.equal(await page.getAttribute('#camera', 'aria-pressed'), 'false');
  await page.close();
});

// Static files, offline --------------------------------------------------------------------------

/** Exports a page with a pack into a folder, and serves it as plain files. */
async function serveExport(name) {
  const folder = join(profile, name);
  const script = join(HERE, '..', 'serve.py');
  const pack = join(FILES, 'only_pack', 'pack');
  const done = spawnSync(PYTHON, [script, pack, '--export', folder], {encoding: 'utf8'});
  assert.equal(done.status, 0, done.stderr);
  const url = await serve('-m', 'http.server', '0', '--bind', '127.0.0.1', '-d', folder);
  return {folder, url};
}

test('exported files need no server of their own, use threads, and work offline', async () => {
  const {url} = await serveExport('exported');
  const page = await context.newPage();
  await page.goto(url);
  await page.waitForFunction(() => /offline/.test(document.querySelector('#offline').textContent));
  assert.equal(await page.evaluate(() => self.crossOriginIsolated), true);
  const server = servers.pop();
  server.removeAllListeners('exit');
  server.kill();
  await page.reload();
  await page.waitForFunction(() => document.querySelectorAll('.chip').length === 10);
  await page.setInputFiles('#image', join(FILES, 'flower.png'));
  await page.waitForSelector('#results li');
  await settled(page);
  const wanted = expected.packs.ten.all.scores[expected.packs.images.indexOf('flower.png')];
  const scores = Object.values(await shown(page));
  const best = [...wanted].sort((a, b) => b - a).slice(0, 5);
  assert.ok(difference(scores, best) <= 1e-6);
  await page.close();
});

test('a new version replaces what is kept for offline use', async () => {
  const {folder, url} = await serveExport('versions');
  const page = await context.newPage();
  const visit = async () => {
    await page.goto(url);
    await page.waitForFunction(() => /offline/.test(document.querySelector('#offline').textContent));
    return page.evaluate(async () => {
      const cache = await caches.open((await caches.keys())[0]);
      const urls = (await cache.keys()).map(({url}) => url);
      const steerable = await cache.match('data/steerable/cat.tflite');
      return {packs: urls.filter(url => url.includes('/pack/')), steerable: await steerable?.text()};
    });
  };
  const before = await visit();
  assert.equal(before.packs.length, 12); // manifest, trunk, ten branches
  rmSync(join(folder, 'data'), {recursive: true});
  cpSync(join(FILES, 'nested'), join(folder, 'data'), {recursive: true});
  const after = await visit();
  assert.equal(after.packs.length, 6); // manifest, trunk, animal, cat, dog, ship
  const file = join(folder, 'data', 'steerable', 'cat.tflite');
  writeFileSync(file, 'newer');
  const later = Date.now() / 1000 + 60; // servers compare whole seconds
  utimesSync(file, later, later);
  assert.equal((await visit()).steerable, 'newer'); // a file that the page has not asked for itself
  await page.close();
});
