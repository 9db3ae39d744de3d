// Prints what a served page measures for 1, 3, 5 and all of its categories:
//
//     python recipes/explore.py preset:imagenette_small --dataset imagenette --data_dir PATH
//     node tflite/web/test/measure.js http://127.0.0.1:8000/ [REPEATS]
//
// Every choice is made in turn, REPEATS times (5). Times are what the page shows: the fastest of its
// runs, which it makes in turns with all categories and the plain network. CHROMIUM is the browser.

import {chromium} from 'playwright-core';

const [url, repeats = '5'] = process.argv.slice(2);
const options = {executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium'};
const browser = await chromium.launch({...options, args: ['--no-sandbox', '--disable-gpu']});
const page = await browser.newPage();
page.setDefaultTimeout(240_000);
await page.goto(url);
await page.waitForSelector('#choice .chip');

const settled = () => page.evaluate(async () => (await import('./page.js')).settled());
const bars = cost => page.$$eval(`[data-cost=${cost}] .row`, rows =>
  Object.fromEntries(rows.map(row => [row.dataset.network, Number(row.dataset.value)])));
const median = values => values.toSorted((a, b) => a - b)[values.length >> 1];

await settled();
const chips = page.locator('.chip:not(.superclass)');
const all = await chips.count();
const rows = new Map(); // categories -> {macs, full, times}
for (let i = 0; i < Number(repeats); i++) {
  for (const count of new Set([1, 3, 5, all].filter(n => n <= all))) {
    await page.click('#none');
    for (let chip = 0; chip < count; chip++) await chips.nth(chip).click();
    await settled();
    const [macs, times] = [await bars('macs'), await bars('ms')];
    if (!rows.has(count)) rows.set(count, {macs, times: []});
    rows.get(count).times.push(times);
  }
}
await browser.close();

// Networks of one line ran in turns: compare them, not lines.
const number = values => `${Math.min(...values).toFixed(2)} (${median(values).toFixed(2)})`;
console.log('categories | MACs, M | ms: fastest (median) | all, ms | plain, ms | fewer MACs, % | less time, %');
for (const [count, {macs, times}] of rows) {
  const of = name => times.map(each => each[name]);
  const less = times.map(({chosen, full}) => 100 * (1 - chosen / full));
  console.log([count, (macs.chosen / 1e6).toFixed(1), number(of('chosen')), number(of('full')),
    macs.plain ? number(of('plain')) : '-', (100 * (1 - macs.chosen / macs.full)).toFixed(1),
    median(less).toFixed(1)].join(' | '));
}
