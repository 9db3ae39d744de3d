// Which positions of a frame changed, as keras_seqpar/selective/detector.py finds them.

/** Compares frames with what was last accepted at each position, so that slow drifts are noticed. */
export class Detector {
  /** @param {number} threshold a channel must differ by more than this, in steps of 0 to 255. */
  constructor(threshold) {
    this.threshold = threshold;
    this.accepted = null;
  }

  /**
   * Finds the changed positions of the next frame, and accepts them.
   *
   * @param {Uint8Array} pixels RGB, always of the same size.
   * @returns {{changed: Uint8Array, share: number}} 1 where a position changed, and how many did.
   *   Everything of the first frame is new.
   */
  next(pixels) {
    const changed = new Uint8Array(pixels.length / 3);
    if (this.accepted?.length !== pixels.length) {
      this.accepted = Uint8Array.from(pixels);
      return {changed: changed.fill(1), share: 1};
    }
    let count = 0;
    for (let i = 0; i < changed.length; i++) {
      const at = 3 * i;
      const differs = c => Math.abs(pixels[at + c] - this.accepted[at + c]) > this.threshold;
      if (!differs(0) && !differs(1) && !differs(2)) continue;
      changed[i] = 1;
      count++;
      this.accepted.set(pixels.subarray(at, at + 3), at);
    }
    return {changed, share: count / changed.length};
  }
}
