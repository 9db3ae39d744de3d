// Makes network inputs from images: the square in the middle, resized as keras_seqpar.data.decode
// does with Pillow. Equal decoded pixels give equal results.

const PRECISION = 22; // fractional bits, as in Pillow's Resample.c

/**
 * Decodes an image file.
 *
 * Applies the orientation and ignores color profiles, as in Python. Transparent pixels keep their
 * colors in Python and may lose them here.
 *
 * @param {Blob} file JPEG, PNG, ...
 * @param {number} size side of the square that the image is resized to later.
 * @returns {Promise<ImageData>} all pixels; a JPEG of at least twice the size is reduced.
 */
export async function decode(file, size) {
  const bitmap = await createImageBitmap(file, {
    colorSpaceConversion: 'none',
    premultiplyAlpha: 'none',
  });
  const pixels = pixelsOf(bitmap, bitmap.width, bitmap.height);
  bitmap.close();
  const jpeg = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  return jpeg[0] === 0xff && jpeg[1] === 0xd8 ? reduce(pixels, size) : pixels;
}

/**
 * Reads the pixels of a bitmap or video frame.
 *
 * @param {CanvasImageSource} source the bitmap or video.
 * @param {number} width in pixels.
 * @param {number} height in pixels.
 * @returns {ImageData}
 */
export function pixelsOf(source, width, height) {
  const context = new OffscreenCanvas(width, height).getContext('2d', {willReadFrequently: true});
  context.drawImage(source, 0, 0);
  return context.getImageData(0, 0, width, height);
}

/**
 * Cuts out the square in the middle and resizes it: bicubic with antialiasing.
 *
 * @param {ImageData} image RGBA pixels.
 * @param {number} size side of the square in pixels.
 * @returns {Uint8Array} `size * size * 3` values, RGB.
 */
export function square({width, height, data}, size) {
  const side = Math.min(width, height);
  const columns = weights(width, (width - side) / 2, side, size);
  const rows = weights(height, (height - side) / 2, side, size);
  const between = new Uint8Array(height * size * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < size; x++) {
      const {first, factors} = columns[x];
      for (let c = 0; c < 3; c++) {
        let at = (y * width + first) * 4 + c;
        let sum = 1 << (PRECISION - 1);
        for (const factor of factors) {
          sum += data[at] * factor;
          at += 4;
        }
        between[(y * size + x) * 3 + c] = clip(sum);
      }
    }
  }
  const out = new Uint8Array(size * size * 3);
  for (let y = 0; y < size; y++) {
    const {first, factors} = rows[y];
    for (let x = 0; x < size * 3; x++) {
      let at = first * size * 3 + x;
      let sum = 1 << (PRECISION - 1);
      for (const factor of factors) {
        sum += between[at] * factor;
        at += size * 3;
      }
      out[y * size * 3 + x] = clip(sum);
    }
  }
  return out;
}

const clip = sum => Math.max(0, Math.min(255, sum >> PRECISION));

// Per output position: the first input position, and the factors of the inputs from there on.
function weights(length, start, side, size) {
  const scale = side / size;
  const stretch = Math.max(scale, 1);
  const support = 2 * stretch;
  return Array.from({length: size}, (_, i) => {
    const center = start + (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const last = Math.min(length, Math.trunc(center + support + 0.5));
    const raw = [];
    for (let j = first; j < last; j++) raw.push(bicubic((j - center + 0.5) / stretch));
    const sum = raw.reduce((a, b) => a + b, 0);
    const factors = raw.map(value => {
      const fixed = (value / sum) * (1 << PRECISION);
      return Math.trunc(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    });
    return {first, factors};
  });
}

function bicubic(x) {
  const a = -0.5;
  x = Math.abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// Python decodes large JPEGs at 1/2, 1/4 or 1/8 of their size. Means of blocks are similar.
function reduce(pixels, size) {
  const {width, height, data} = pixels;
  const most = Math.min(Math.floor(width / size), Math.floor(height / size));
  const step = [8, 4, 2].find(factor => most >= factor);
  if (!step) return pixels;
  const [columns, rows] = [Math.ceil(width / step), Math.ceil(height / step)];
  const out = new Uint8ClampedArray(columns * rows * 4);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const [right, bottom] = [Math.min(width, (x + 1) * step), Math.min(height, (y + 1) * step)];
      const count = (right - x * step) * (bottom - y * step);
      for (let c = 0; c < 4; c++) {
        let sum = 0;
        for (let j = y * step; j < bottom; j++) {
          for (let i = x * step; i < right; i++) sum += data[(j * width + i) * 4 + c];
        }
        out[(y * columns + x) * 4 + c] = Math.round(sum / count);
      }
    }
  }
  return new ImageData(out, columns, rows);
}
