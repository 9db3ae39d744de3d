// Measures the chosen categories, all of them and the plain network in turns. The fastest run
// counts: other programs and pages only add time, and more of it to longer runs.

import {load, run} from './network.js';

/** Times of the networks that stand beside each other in the bars. */
export class Stopwatch {
  static ROUNDS = 30;
  static MOST = 50; // categories of a pack that are all run to measure them
  static FIRST = 5; // runs after which the times are shown; more runs only lower them

  /**
   * @param {object} model from `openServed` or `openFiles`.
   * @param {number} threads number of CPU threads.
   * @returns {Promise<Stopwatch>} nothing is measured yet.
   */
  static async of(model, threads) {
    const others = {};
    for (const [name, {file}] of Object.entries(model.facts.networks)) {
      others[name] = await load(await model.read(file), threads);
    }
    return new Stopwatch(model, others);
  }

  constructor(model, others) {
    Object.assign(this, {model, others, round: null, done: Promise.resolve()});
    this.fastest = {}; // name -> milliseconds; null: too many branches to measure
    this.ids = []; // of the categories that `fastest.chosen` is of
  }

  /** Whether the chosen categories that were measured are these. */
  isOf(ids) {
    return this.ids.join() === ids.join();
  }

  /**
   * Measures anew; an earlier measurement ends.
   *
   * @param {string[]} ids of the chosen categories.
   * @param {Uint8Array | null} pixels of the image; without one, a gray image.
   * @param {() => void} show called when `fastest` has changed.
   */
  start(ids, pixels, show) {
    const before = this.stop();
    const token = (this.round = {});
    this.done = before.then(() => this.measure(token, ids, pixels, show));
  }

  async measure(token, ids, pixels, show) {
    const {model, others} = this;
    const image = pixels ?? new Uint8Array(3 * model.size ** 2).fill(127);
    const runs = Object.entries(others).map(([name, network]) => [name, () => run(network, image)]);
    const all = model.categories;
    if (model.kind === 'pack' && all.length <= Stopwatch.MOST) {
      runs.unshift(['full', () => model.run(image, all)]);
    }
    if (ids.length) runs.unshift(['chosen', () => model.run(image, ids)]);
    const times = Object.fromEntries(runs.map(([name]) => [name, []]));
    for (let i = 0; runs.length && i < Stopwatch.ROUNDS; i++) {
      for (const [name, once] of runs) {
        if (this.round !== token) return;
        await once(); // fills the caches, which another network used last
        const {milliseconds} = await once();
        times[name].push(milliseconds);
      }
      if (i + 1 === Stopwatch.FIRST || i + 1 === Stopwatch.ROUNDS) {
        const least = Object.entries(times).map(([name, values]) => [name, Math.min(...values)]);
        this.fastest = {full: null, ...Object.fromEntries(least)};
        this.ids = ids;
        show();
      }
      await new Promise(resolve => setTimeout(resolve)); // the page stays alive
    }
  }

  /** Ends the measurement that runs; resolves when nothing runs any more. */
  stop() {
    this.round = null;
    return this.done;
  }

  async close() {
    await this.stop();
    Object.values(this.others).forEach(network => network.close());
  }
}
