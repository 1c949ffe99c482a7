// Lines of constant value in a plane of numbers: contours of masks, isodoses.

// Marching squares: the segments of a cell, each from one edge to another, by the corners
// that are inside (1 top left, 2 top right, 4 bottom right, 8 bottom left). Edges are
// 0 top, 1 right, 2 bottom, 3 left. The inside is to the left of a segment, so the
// segments of neighbouring cells join.
const SEGMENTS = [
  [], [[3, 0]], [[0, 1]], [[3, 1]], [[1, 2]], [[3, 0], [1, 2]], [[0, 2]], [[3, 2]],
  [[2, 3]], [[2, 0]], [[0, 1], [2, 3]], [[2, 1]], [[1, 3]], [[1, 0]], [[0, 3]], [],
];

// Closed lines, each [x, y, x, y, ...] in pixels; (0, 0) is the centre of the first pixel.
// The outermost pixels of the plane must be below the level.
function isolines({ values, width, height }, level) {
  const next = new Map();
  const edge = (x, y, side) =>
    side === 0 ? 2 * (y * width + x)
      : side === 2 ? 2 * ((y + 1) * width + x)
        : side === 3 ? 2 * (y * width + x) + 1
          : 2 * (y * width + x + 1) + 1;
  for (let y = 0; y < height - 1; y++) {
    let left = (values[y * width] >= level) + 8 * (values[(y + 1) * width] >= level);
    for (let x = 0; x < width - 1; x++) {
      const at = y * width + x + 1;
      const top = values[at] >= level, bottom = values[at + width] >= level;
      const corners = left + 2 * top + 4 * bottom;
      for (const [from, to] of SEGMENTS[corners]) next.set(edge(x, y, from), edge(x, y, to));
      left = top + 8 * bottom;
    }
  }
  const lines = [];
  for (const start of next.keys()) {
    const line = [];
    for (let at = start; next.has(at); ) {
      const after = next.get(at);
      next.delete(at);
      const pixel = at >> 1, down = at & 1;
      const a = values[pixel], b = values[pixel + (down ? width : 1)];
      const part = a === b ? 0.5 : (level - a) / (b - a);
      const x = pixel % width, y = Math.floor(pixel / width);
      line.push(down ? x : x + part, down ? y + part : y);
      at = after;
    }
    lines.push(line);
  }
  return lines;
}
