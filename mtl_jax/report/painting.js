// Draws a cut through a patient on three canvases: reference, prediction, difference.

const WINDOWS = { soft: [-160, 240], bone: [-200, 1400], lung: [-1000, 0], all: [-1024, 2000] };
const FINEST = 480; // pixels across that are coloured; wider pictures are stretched

// `cut` has the planes ct, reference and predicted (codes; a dose may be null), the
// view and spacing of them, Gy by code (step), contours, and what is on the sides.
function paint(canvases, cut, state) {
  const { view, spacing, contours, reference, predicted } = cut;
  const wide = view.wide * spacing[1], high = view.high * spacing[0];
  for (const canvas of canvases) {
    canvas.style.aspectRatio = `${wide} / ${high}`;
    canvas.width = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1)) || 400;
    canvas.height = Math.round((canvas.width * high) / wide);
  }
  const across = Math.min(canvases[0].width, FINEST);
  const size = [across, Math.round((across * high) / wide)];
  const numbers = (plane, number) => plane && sample(plane, view, ...size, number);
  const under = numbers(cut.ct, (code) => state.colours.brightness(code, state.window));
  const doses = [reference, predicted].map((plane) => numbers(plane, (code) => code * cut.step));
  const both = reference && predicted;
  const error = both && doses[1].map((dose, i) => dose - doses[0][i]);
  const washes = state.layer === "wash" ? doses : [null, null];
  const pictures = [
    state.colours.withDose(under, washes[0], state.opacity),
    state.colours.withDose(under, washes[1], state.opacity),
    both ? state.colours.withError(under, error, state.limit)
      : state.colours.withDose(under, null, 0),
  ];
  canvases.forEach((canvas, i) => {
    const context = canvas.getContext("2d");
    const small = new OffscreenCanvas(...size);
    small.getContext("2d").putImageData(new ImageData(pictures[i], ...size), 0, 0);
    context.imageSmoothingQuality = "high";
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
    const dose = [reference, predicted, null][i];
    const mine = i ? contours : contours.filter(({ role }) => role === "");
    strokes(context, canvas, cut, state, dose, mine);
    labels(context, canvas, wide, cut.sides);
  });
}

// Isodoses and contours; a prediction's are dashed.
function strokes(context, canvas, { view, step }, state, dose, contours) {
  const width = canvas.width / 300;
  const draw = (lines, colour, thick, dashes) => {
    context.beginPath();
    for (const line of lines) {
      for (let i = 0; i < line.length; i += 2) {
        const x = ((line[i] + 0.5 - view.x) / view.wide) * canvas.width;
        const y = ((line[i + 1] + 0.5 - view.y) / view.high) * canvas.height;
        if (i) context.lineTo(x, y); else context.moveTo(x, y);
      }
      context.closePath();
    }
    context.setLineDash(dashes);
    context.lineWidth = thick;
    context.strokeStyle = colour;
    context.stroke();
  };
  if (state.layer === "lines" && dose) {
    for (const { gray, colour } of state.colours.isodoses()) {
      draw(isolines(dose, gray / step), colour, width, []);
    }
  }
  for (const { role, name, lines } of contours) {
    const dashes = role === "" ? [] : [4 * width, 2 * width];
    draw(lines, state.colours.structure(name), 1.3 * width, dashes);
  }
}

// Which side is which, and how long 5 cm are.
function labels(context, canvas, wide, [left, right]) {
  const unit = canvas.width / 300, length = (50 / wide) * canvas.width;
  const [x, y] = [canvas.width - length - 6 * unit, canvas.height - 7 * unit];
  context.fillStyle = "#e8e8e8";
  context.font = `${12 * unit}px system-ui, sans-serif`;
  context.fillText(left, 4 * unit, 14 * unit);
  context.fillText(right, canvas.width - 13 * unit, 14 * unit);
  context.fillRect(x, y, length, 2 * unit);
  context.fillText("5 cm", x, y - 4 * unit);
}
