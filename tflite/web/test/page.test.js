// Compares the page in a browser with Python: `make test-web`. FILES is a folder written by
// make_files.py, CHROMIUM the browser, PYTHON the interpreter that runs serve.py.

import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {mkdtempSync, readFileSync, rmSync} from 'node:fs';
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

const profile = mkdtempSync(join(tmpdir(), 'page-test-'));
let server, url, context;

before(async () => {
  const script = join(HERE, '..', 'serve.py');
  server = spawn(PYTHON, [script, '--port', '0', '--model', join(FILES, 'float.tflite')]);
  url = await new Promise((resolve, reject) => {
    server.stdout.on('data', data => {
      const found = /http:\/\/[^ ]+/.exec(data);
      if (found) resolve(found[0]);
    });
    server.stderr.on('data', data => process.stderr.write(data));
    server.on('exit', code => reject(new Error(`serve.py ended with ${code}`)));
  });
  const options = {executablePath: CHROMIUM, headless: true, args: FLAGS};
  context = await chromium.launchPersistentContext(profile, options);
});

after(async () => {
  await context?.close();
  server?.removeAllListeners('exit');
  server?.kill();
  rmSync(profile, {recursive: true, force: true, maxRetries: 5});
});

// Opens the page and waits for the served file.
async function open() {
  const page = await context.newPage();
  page.on('pageerror', error => assert.fail(error));
  await page.goto(url);
  await page.waitForFunction(() => document.querySelectorAll('.chip').length > 0);
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
    Object.fromEntries(rows.map(row => [row.firstChild.data, Number(row.dataset.score)])));
}

async function chooseImage(page, name) {
  await page.setInputFiles('#image', join(FILES, name));
  await page.waitForSelector('#results li');
}

async function chooseFile(page, name) {
  await page.setInputFiles('#file', join(FILES, name));
  await page.waitForFunction(
    name => document.querySelector('#about').textContent.startsWith(`${name}:`), name);
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

// Largest differences: one step of 8 bits, float rounding, and the scales of dynamic files.
const BOUNDS = {
  uint8: 1 / 256, scored: 1e-6, float: 1e-5, dynamic: 0.02, all: 1e-5, logits: 1e-4, unsure: 0.02,
  'several.five': 1 / 256, 'several.three': 1 / 256, gains: 1e-5, gains_uint8: 1 / 256,
};
test("scores equal those of Python's Runner", async t => {
  const page = await open();
  for (const [name, bound] of Object.entries(BOUNDS)) {
    const [file, signature] = name.split('.');
    const gains = name.startsWith('gains') ? expected.gains : undefined;
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

test('the page shows the served file, the image and the best categories', async () => {
  const page = await open();
  assert.equal(await page.evaluate(() => self.crossOriginIsolated), true); // threads are allowed
  assert.match(await page.textContent('#about'), /^float.tflite: .*float32, .* 96 x 96, 1 thread/);
  assert.deepEqual(await page.$$eval('.chip', all => all.map(x => x.textContent)),
    expected.categories);
  assert.match(await page.textContent('#rule'), /softmax over the chosen/);
  assert.ok(await page.isHidden('#gains'));
  await chooseImage(page, 'flower.png');
  const scores = await shown(page);
  const wanted = expected.scores.float['flower.png'].scores;
  const names = expected.categories.map((name, i) => [wanted[i], name]).sort((a, b) => b[0] - a[0]);
  assert.deepEqual(Object.keys(scores), names.map(([, name]) => name));
  assert.ok(difference(Object.values(scores), names.map(([score]) => score)) <= 1e-5);
  await page.click('#measure');
  await page.waitForFunction(() => /Median of/.test(document.querySelector('#latency').textContent));
  assert.equal(await page.textContent('#error'), '');
  await page.close();
});

for (const file of ['all', 'logits']) {
  test(`${file}: chosen categories have the scores of their cutout`, async () => {
    const page = await open();
    await chooseFile(page, `${file}.tflite`);
    await chooseImage(page, 'flower.png');
    await page.click('#none');
    assert.deepEqual(await shown(page), {});
    for (const name of expected.three) await page.click(`.chip:text-is("${name}")`);
    const scores = await shown(page);
    const wanted = expected.scores.three['flower.png'].scores;
    assert.equal(Object.keys(scores).length, 3);
    assert.ok(difference(expected.three.map(name => scores[name]), wanted) <= 1e-5);
    await page.close();
  });
}

test('gains have sliders, up to the limit of the file', async () => {
  const page = await open();
  await chooseImage(page, 'flower.png');
  const plain = await shown(page);
  await chooseFile(page, 'gains.tflite');
  assert.ok(await page.isVisible('#gains'));
  assert.ok(difference(Object.values(await shown(page)), Object.values(plain)) <= 1e-5); // neutral
  const sliders = await page.$$('#sliders input');
  for (const [i, slider] of sliders.entries()) await slider.fill(String(expected.gains[i]));
  await settled(page);
  const scores = await shown(page);
  const wanted = expected.scores.gains['flower.png'].scores;
  assert.ok(difference(expected.categories.map(name => scores[name]), wanted) <= 1e-5);
  await page.click('#neutral');
  await settled(page);
  assert.ok(difference(Object.values(await shown(page)), Object.values(plain)) <= 1e-5);
  await chooseFile(page, 'gains_uint8.tflite');
  assert.equal(Number(await page.getAttribute('#sliders input', 'max')), 255 / 127);
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
  assert.match(await page.textContent('#about'), /2 thread/);
  assert.ok(await page.isHidden('#unknown'));
  await chooseFile(page, 'unsure.tflite');
  const none = await page.isVisible('#unknown');
  assert.equal(none, expected.scores.unsure['shapes.png'].none);
  await page.click('.chip');
  assert.ok(await page.isHidden('#unknown')); // the decision is for all categories
  await page.close();
});

test('the camera can take an image', async () => {
  const page = await open();
  await page.click('#camera');
  await page.waitForFunction(() => document.querySelector('#video').videoWidth > 0);
  await page.click('#capture');
  await page.waitForSelector('#results li');
  assert.equal(Object.keys(await shown(page)).length, 5);
  assert.equal(await page.textContent('#error'), '');
  await page.close();
});

test('files that cannot be run are refused with a reason', async () => {
  const page = await open();
  const float = readFileSync(join(FILES, 'float.tflite'));
  const files = [
    ['int8.tflite', readFileSync(join(FILES, 'int8.tflite')), /image is of int8, which LiteRT.js/],
    ['text.tflite', Buffer.from('no such file'), /is no .tflite file/],
    ['half.tflite', float.subarray(0, 1000), /truncated or damaged/],
  ];
  for (const [name, buffer, message] of files) {
    await page.setInputFiles('#file', {name, mimeType: 'application/octet-stream', buffer});
    await page.waitForFunction(() => document.querySelector('#error').textContent);
    await settled(page);
    assert.match(await page.textContent('#error'), message);
  }
  await chooseFile(page, 'uint8.tflite'); // the page still works
  assert.equal(await page.textContent('#error'), '');
  await page.close();
});
