// A patient's volumes, unpacked from the page, and planes through them.

// Which axis (0 z, 1 y, 2 x) the slider moves along, and which are down and across.
const PLANES = {
  axial: { along: 0, down: 1, across: 2, left: "R", right: "L" },
  coronal: { along: 1, down: 0, across: 2, left: "R", right: "L" },
  sagittal: { along: 2, down: 0, across: 1, left: "A", right: "P" },
};

async function gunzip(text) {
  if (!("DecompressionStream" in window)) {
    throw new Error("this browser is too old for the slice viewer (2023 or newer)");
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

  // A plane with one voxel of `outside` all around; the head is above.
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

// A plane of codes as numbers at (width, height) points, linear between the voxels.
function sample(plane, width, height, number) {
  const values = new Float32Array(width * height);
  const table = Float32Array.from({ length: 256 }, (_, code) => number(code));
  const places = (count, size) => Array.from({ length: count }, (_, i) => {
    const at = Math.min(Math.max(((i + 0.5) * size) / count - 0.5, 0), size - 1);
    const low = Math.min(Math.floor(at), size - 2);
    return [low, at - low];
  });
  const columns = places(width, plane.width);
  places(height, plane.height).forEach(([row, down], y) => {
    const above = row * plane.width, below = above + plane.width;
    columns.forEach(([column, across], x) => {
      const a = table[plane.values[above + column]], b = table[plane.values[above + column + 1]];
      const c = table[plane.values[below + column]], d = table[plane.values[below + column + 1]];
      const top = a + (b - a) * across, bottom = c + (d - c) * across;
      values[y * width + x] = top + (bottom - top) * down;
    });
  });
  return { values, width, height };
}
