// Reads the metadata of a .tflite file: inputs, outputs and their scales, description and labels.
// The file is a flatbuffer (TensorFlow's schema.fbs) followed by a zip archive. The Python
// counterpart is keras_seqpar/mobile/runtime/reading.py.

const TYPES = new Map([[0, 'float32'], [3, 'uint8'], [9, 'int8']]); // TensorType in schema.fbs

/**
 * Reads a file.
 *
 * @param {Uint8Array} bytes the content of a .tflite file.
 * @returns {Promise<{about: object, signatures: object[], files: Map<string, string>}>}
 *   `about`: the description that keras_seqpar writes. A signature has `key`, `inputs`, `outputs`
 *   (each with `name`, `dtype`, `shape`, `scale`, `zero`), `labels` and `gains` (names or null).
 */
export async function readFile(bytes) {
  if (text(bytes.subarray(4, 8)) !== 'TFL3') {
    throw new Error('This is no .tflite file. Make one with tflite/convert.py.');
  }
  try {
    const flat = new FlatBuffer(bytes);
    const found = signaturesOf(flat);
    const files = await unzip(bytes);
    const several = found.length > 1;
    const lines = (key, name) => {
      const content = files.get(several ? `${key}.${name}` : name);
      return content === undefined ? null : content.replace(/\r?\n$/, '').split(/\r?\n/);
    };
    const signatures = found.map(signature => ({
      ...signature,
      labels: lines(signature.key, 'labels.txt'),
      gains: lines(signature.key, 'gains.txt'),
    }));
    return {about: parse(text(flat.content(flat.root, 3))), signatures, files};
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new Error('The file is truncated or damaged. Copy or convert it again.');
  }
}

const text = bytes => new TextDecoder().decode(bytes);

function parse(description) {
  try {
    const about = JSON.parse(description);
    return about && typeof about === 'object' ? about : {};
  } catch {
    return {}; // the description of other files is free text
  }
}

// Reads a flatbuffer. Access outside of it throws RangeError.
class FlatBuffer {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.root = this.uint(0);
  }

  uint(at) {
    return this.view.getUint32(at, true);
  }

  // The position of a table's field; 0 if the field has its default value.
  slot(table, index) {
    const vtable = table - this.view.getInt32(table, true);
    if (4 + 2 * index >= this.view.getUint16(vtable, true)) return 0;
    const offset = this.view.getUint16(vtable + 4 + 2 * index, true);
    return offset && table + offset;
  }

  // The first byte and the length of a vector.
  vector(table, index) {
    const slot = this.slot(table, index);
    if (!slot) return [0, 0];
    const start = slot + this.uint(slot);
    return [start + 4, this.uint(start)];
  }

  table(table, index) {
    const slot = this.slot(table, index);
    return slot && slot + this.uint(slot);
  }

  tables(table, index) {
    const [start, length] = this.vector(table, index);
    return Array.from({length}, (_, i) => start + 4 * i + this.uint(start + 4 * i));
  }

  ints(table, index) {
    const [start, length] = this.vector(table, index);
    return Array.from({length}, (_, i) => this.view.getInt32(start + 4 * i, true));
  }

  content(table, index) {
    const [start, length] = this.vector(table, index);
    if (start + length > this.bytes.length) throw new RangeError();
    return this.bytes.subarray(start, start + length);
  }
}

// The signatures in the order of their graphs.
function signaturesOf(flat) {
  const graphs = flat.tables(flat.root, 2);
  const signatures = flat.tables(flat.root, 7).map(signature => {
    const slot = flat.slot(signature, 4);
    const graph = slot ? flat.uint(slot) : 0;
    const tensors = flat.tables(graphs[graph], 0);
    const tensorsOf = index => flat.tables(signature, index).map(entry => {
      const number = flat.slot(entry, 1);
      const name = text(flat.content(entry, 0));
      return describe(flat, name, tensors[number ? flat.uint(number) : 0]);
    });
    const key = text(flat.content(signature, 2));
    return {key, graph, inputs: tensorsOf(0), outputs: tensorsOf(1)};
  });
  return signatures.sort((a, b) => a.graph - b.graph);
}

function describe(flat, name, tensor) {
  const slot = flat.slot(tensor, 1);
  const type = slot ? flat.view.getInt8(slot) : 0;
  const scales = flat.table(tensor, 4);
  const [scale, scaleCount] = scales ? flat.vector(scales, 2) : [0, 0];
  const [zero, zeroCount] = scales ? flat.vector(scales, 3) : [0, 0];
  return {
    name,
    dtype: TYPES.get(type) ?? `type ${type}`,
    shape: flat.ints(tensor, 0),
    scale: scaleCount ? flat.view.getFloat32(scale, true) : 0,
    zero: zeroCount ? Number(flat.view.getBigInt64(zero, true)) : 0,
  };
}

// The text files in the zip archive at the end of a file; none if there is no archive.
async function unzip(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const files = new Map();
  let end = bytes.length - 22; // of the end record; a comment may follow it
  const first = Math.max(0, end - 65535);
  while (end >= first && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < first) return files;
  let at = view.getUint32(end + 16, true);
  for (let count = view.getUint16(end + 10, true); count > 0; count--) {
    const method = view.getUint16(at + 10, true);
    const size = view.getUint32(at + 20, true);
    const [name, extra, comment] = [28, 30, 32].map(i => view.getUint16(at + i, true));
    const local = view.getUint32(at + 42, true);
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const data = bytes.subarray(start, start + size);
    const label = text(bytes.subarray(at + 46, at + 46 + name));
    files.set(label, text(method ? await inflate(data) : data));
    at += 46 + name + extra + comment;
  }
  return files;
}

async function inflate(data) {
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
