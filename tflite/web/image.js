// Makes network inputs from images by the rule of keras_seqpar/utils/images.py: transparent parts
// over white, the square in the middle, resized as Pillow 13 does. Equal decoded pixels give equal
// results.

const PRECISION = 22; // fractional bits, as in Pillow's Resample.c
const BACKGROUND = 255; // of transparent parts, in every channel
const STRIP = 2 ** 22; // pixels of a large JPEG that are held at a time
const MOST = 2 ** 27; // pixels; browsers end pages that hold several times as many

/**
 * Decodes an image file.
 *
 * Applies the orientation and ignores color profiles, as in Python. The browser composes
 * half-transparent pixels over white: a channel may differ from Python's by 1.
 *
 * @param {Blob} file JPEG, PNG, ...
 * @param {number} size side of the square that the image is resized to later.
 * @returns {Promise<ImageData>} all pixels; a JPEG of at least twice the size is reduced.
 */
export async function decode(file, size) {
  const {width, height} = await sizeOf(file);
  if (width * height > MOST) {
    throw new Error(`${file.name} has ${width} × ${height} pixels: more than this page can hold.`);
  }
  const options = {colorSpaceConversion: 'none', premultiplyAlpha: 'none'};
  const bitmap = await createImageBitmap(file, options).catch(() => unreadable(file));
  try {
    const start = new Uint8Array(await file.slice(0, 2).arrayBuffer());
    const jpeg = start[0] === 0xff && start[1] === 0xd8;
    const most = Math.floor(Math.min(bitmap.width, bitmap.height) / size);
    const step = jpeg && [8, 4, 2].find(factor => most >= factor);
    return step ? reduce(bitmap, step) : pixelsOf(bitmap, bitmap.width, bitmap.height);
  } finally {
    bitmap.close();
  }
}

// The width and height of an image that need not be decoded for it.
async function sizeOf(file) {
  const image = new Image();
  const loaded = new Promise((resolve, reject) => {
    image.onload = resolve;
    image.onerror = reject;
  });
  image.src = URL.createObjectURL(file);
  try {
    await loaded.catch(() => unreadable(file));
  } finally {
    URL.revokeObjectURL(image.src);
  }
  return {width: image.naturalWidth, height: image.naturalHeight};
}

function unreadable({name = 'This'}) {
  throw new Error(`${name} is no image that this browser reads.`);
}

/**
 * Reads the pixels of a bitmap or video frame, composed over white.
 *
 * @param {CanvasImageSource} source the bitmap or video.
 * @param {number} width in pixels.
 * @param {number} height in pixels.
 * @param {number} top the first row.
 * @returns {ImageData}
 */
export function pixelsOf(source, width, height, top = 0) {
  const context = new OffscreenCanvas(width, height).getContext('2d', {willReadFrequently: true});
  context.fillStyle = 'white';
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, -top);
  return context.getImageData(0, 0, width, height);
}

/**
 * Cuts out the square in the middle and resizes it: bicubic with antialiasing. Transparent parts
 * are composed over white before.
 *
 * @param {ImageData} image RGBA pixels.
 * @param {number} size side of the square in pixels.
 * @returns {Uint8Array} `size * size * 3` values, RGB.
 */
export function square({width, height, data}, size) {
  const side = Math.min(width, height);
  const columns = weights(width, (width - side) / 2, side, size);
  const rows = weights(height, (height - side) / 2, side, size);
  const pixels = opaque(data);
  // Like Pillow, begin with rows if they shrink much more: the order changes the rounding.
  const tall = height > size && height - size > 2 * (width - size);
  return tall
    ? horizontal(vertical(pixels, 3 * width, rows), 3 * width, columns)
    : vertical(horizontal(pixels, 3 * width, columns), 3 * size, rows);
}

// RGB of RGBA pixels over the background, each channel rounded to the nearest integer.
function opaque(data) {
  const out = new Uint8Array((data.length / 4) * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    const alpha = data[from + 3];
    const below = (255 - alpha) * BACKGROUND + 127;
    for (let c = 0; c < 3; c++) out[to++] = Math.floor((data[from + c] * alpha + below) / 255);
  }
  return out;
}

// Resizes every row; a row has `line` bytes.
function horizontal(pixels, line, filters) {
  const out = new Uint8Array((pixels.length / line) * filters.length * 3);
  let to = 0;
  for (let start = 0; start < pixels.length; start += line) {
    for (const {first, factors} of filters) {
      for (let c = 0; c < 3; c++) {
        out[to++] = apply(factors, pixels, start + first * 3 + c, 3);
      }
    }
  }
  return out;
}

// Resizes every column; a row has `line` bytes.
function vertical(pixels, line, filters) {
  const out = new Uint8Array(filters.length * line);
  let to = 0;
  for (const {first, factors} of filters) {
    for (let x = 0; x < line; x++) out[to++] = apply(factors, pixels, first * line + x, line);
  }
  return out;
}

// One output value, computed and rounded in fixed point as in Pillow.
function apply(factors, pixels, at, step) {
  let sum = 1 << (PRECISION - 1);
  for (const factor of factors) {
    sum += pixels[at] * factor;
    at += step;
  }
  return clip(sum);
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
function reduce(bitmap, step) {
  const [columns, rows] = [bitmap.width, bitmap.height].map(length => Math.ceil(length / step));
  const out = new ImageData(columns, rows);
  const strip = Math.ceil(STRIP / bitmap.width / step); // rows of blocks
  for (let first = 0; first < rows; first += strip) {
    const top = first * step;
    const height = Math.min(strip * step, bitmap.height - top);
    const means = meansOfBlocks(pixelsOf(bitmap, bitmap.width, height, top), step);
    out.data.set(means, first * columns * 4);
  }
  return out;
}

// The means of blocks of pixels: RGBA, row by row. The last blocks may be smaller.
function meansOfBlocks({width, height, data}, step) {
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
  return out;
}
