// A patient's volumes, unpacked from the page, and planes through them.

// The axis (0 z, 1 y, 2 x) that the slider moves along, and the axes down and across the
// image; the letters of its sides; and its largest width / height if fit to the patient.
const PLANES = {
  axial: { along: 0, down: 1, across: 2, left: "R", right: "L", widest: 1.25 },
  coronal: { along: 1, down: 0, across: 2, left: "R", right: "L", widest: 2 },
  sagittal: { along: 2, down: 0, across: 1, left: "A", right: "P", widest: 2 },
};

async function gunzip(text) {
  if (!("DecompressionStream" in window)) {
    throw new Error("this browser is too old; use one from 2023 or later");
  }
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

class Volume {
  static async unpack(header, text) {
    return new Volume(header, await gunzip(text));
  }

  constructor(header, bytes) {
    const [depth, height, width] = header.shape;
    this.header = header;
    this.strides = [height * width, width, 1];
    const size = depth * height * width;
    const count = 1 + header.doses.length + Math.ceil(header.contours.length / 8);
    if (bytes.length !== size * count) throw new Error("the volumes are damaged");
    for (let at = 0; at < bytes.length; at += width) {
      for (let x = 1; x < width; x++) bytes[at + x] += bytes[at + x - 1];
    }
    const parts = Array.from({ length: count }, (_, i) =>
      bytes.subarray(i * size, (i + 1) * size));
    this.ct = parts[0];
    this.doses = new Map(header.doses.map((role, i) => [role, parts[1 + i]]));
    this.masks = header.contours.map(([role, name], i) => ({
      role, name, bits: parts[1 + header.doses.length + (i >> 3)], bit: 1 << (i & 7),
    }));
  }

  // A plane with a border of one voxel of `outside`; the head is at the top.
  plane(volume, name, index, { bit = 0, outside = 0 } = {}) {
    const { along, down, across } = PLANES[name];
    const { shape } = this.header;
    const width = shape[across] + 2, height = shape[down] + 2;
    const values = new Uint8Array(width * height).fill(outside);
    const step = this.strides[across];
    for (let y = 0; y < shape[down]; y++) {
      const row = down === 0 ? shape[0] - 1 - y : y;
      let from = index * this.strides[along] + row * this.strides[down];
      let to = (y + 1) * width + 1;
      for (let x = 0; x < shape[across]; x++, from += step, to++) {
        values[to] = bit ? (volume[from] & bit ? 1 : 0) : volume[from];
      }
    }
    return { values, width, height };
  }
}

// The part of a plane to show: { x, y, wide, high } in voxels, with the aspect ratio
// `aspect` (width / height in mm): the whole plane, or the patient and two voxels around.
function viewOf(plane, [dy, dx], aspect, whole) {
  let [left, top, right, bottom] = [0, 0, plane.width, plane.height];
  if (!whole) {
    let [x0, y0, x1, y1] = [Infinity, Infinity, -Infinity, -Infinity];
    plane.values.forEach((code, i) => {
      if (!code) return;
      const x = i % plane.width, y = (i - x) / plane.width;
      [x0, x1] = [Math.min(x0, x), Math.max(x1, x)];
      [y0, y1] = [Math.min(y0, y), Math.max(y1, y)];
    });
    if (x1 >= 0) [left, top, right, bottom] = [x0 - 2, y0 - 2, x1 + 3, y1 + 3];
  }
  const high = Math.max(bottom - top, ((right - left) * dx) / aspect / dy);
  const wide = (high * dy * aspect) / dx;
  return { x: (left + right - wide) / 2, y: (top + bottom - high) / 2, wide, high };
}

// Resamples the view of a plane of codes to (width, height) numbers: Catmull-Rom
// interpolation along the rows and then along the columns.
function sample(plane, view, width, height, number) {
  const table = Float32Array.from({ length: 256 }, (_, code) => number(code));
  const numbers = Float32Array.from(plane.values, (code) => table[code]);
  const across = { from: plane.width, first: view.x, span: view.wide, to: width };
  const down = { from: plane.height, first: view.y, span: view.high, to: height };
  const rows = stretch(numbers, across, plane.height, true);
  return stretch(rows, down, width, false);
}

// Resamples `lines` rows (columns if not `along`) of `from` numbers: the part that starts
// at `first` and is `span` long, at `to` points.
function stretch(numbers, { from, first, span, to }, lines, along) {
  const values = new Float32Array(lines * to);
  const next = along ? 1 : lines, read = along ? from : 1, write = along ? to : 1;
  for (let i = 0; i < to; i++) {
    const at = first + ((i + 0.5) * span) / to - 0.5, low = Math.floor(at), t = at - low;
    const [a, b, c, d] = [-1, 0, 1, 2].map((n) => next * Math.min(Math.max(low + n, 0), from - 1));
    const wa = (-t + 2 * t * t - t ** 3) / 2, wb = (2 - 5 * t * t + 3 * t ** 3) / 2;
    const wc = (t + 4 * t * t - 3 * t ** 3) / 2, wd = (t ** 3 - t * t) / 2;
    for (let line = 0; line < lines; line++) {
      const start = line * read;
      values[line * write + i * next] = wa * numbers[start + a] + wb * numbers[start + b]
        + wc * numbers[start + c] + wd * numbers[start + d];
    }
  }
  return values;
}
