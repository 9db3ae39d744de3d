// Takes the figures of the docs from pages that are served:
//
//     python recipes/explore.py preset:imagenette_small --dataset imagenette --data_dir PATH
//     python recipes/explore.py preset:imagenette_mobile --dataset imagenette --data_dir PATH --port 8001
//     node tflite/web/test/screenshots.js http://127.0.0.1:8000/ http://127.0.0.1:8001/ docs/figures IMAGE
//
// writes explorer.webp, of imagenette_small, in which branches are half of the parameters, and
// explorer_phone.webp, of imagenette_mobile. IMAGE is an image that may be published; the
// committed figures show china.jpg of scikit-learn, by danielbuechele, CC BY 2.0. CHROMIUM is the
// browser.

import {writeFileSync} from 'node:fs';
import {join} from 'node:path';

import {chromium} from 'playwright-core';

const [wide, phone, folder, image] = process.argv.slice(2);
const QUALITY = 0.85;
const VIEWS = {explorer: [wide, 1280, 860], explorer_phone: [phone, 390, 844]};
const options = {executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium'};
const browser = await chromium.launch({...options, args: ['--no-sandbox', '--disable-gpu']});

// Writes what a page shows as WebP, which the browser encodes.
async function shoot(page, name) {
  const png = (await page.screenshot()).toString('base64');
  const webp = await page.evaluate(async ({png, quality}) => {
    const bytes = Uint8Array.from(atob(png), letter => letter.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes]));
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext('2d').drawImage(bitmap, 0, 0);
    const blob = await canvas.convertToBlob({type: 'image/webp', quality});
    return [...new Uint8Array(await blob.arrayBuffer())];
  }, {png, quality: QUALITY});
  writeFileSync(join(folder, `${name}.webp`), Buffer.from(webp));
}

const settled = page => page.evaluate(async () => (await import('./page.js')).settled());

for (const [name, [url, width, height]] of Object.entries(VIEWS)) {
  const page = await browser.newPage({viewport: {width, height}});
  await page.goto(url);
  await page.waitForSelector('.chip');
  // Those of a data set may not be published.
  await page.evaluate(() => document.querySelector('#examples').replaceChildren());
  await page.setInputFiles('#image', image);
  await page.waitForSelector('#results li');
  for (const i of [1, 2, 3, 4, 9]) await page.click(`.chip:nth-child(${i})`);
  await settled(page);
  await page.waitForTimeout(500); // the bars move
  await page.mouse.move(0, 0);
  await shoot(page, name);
}
await browser.close();
