// Draws a plane through a patient on three canvases: reference, prediction, difference.

const WINDOWS = { soft: [-160, 240], bone: [-200, 1400], lung: [-1000, 0], all: [-1024, 2000] };
const MOST_PIXELS = 480; // across, before the image is scaled to the canvas

// `section` has the planes ct, reference and predicted (codes; a dose may be null), their
// view and spacing, the Gy per code (step), the contours, and the letters of both sides.
function paint(canvases, section, state) {
  const { view, spacing, contours, reference, predicted } = section;
  const wide = view.wide * spacing[1], high = view.high * spacing[0];
  for (const canvas of canvases) {
    canvas.style.aspectRatio = `${wide} / ${high}`;
    canvas.width = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1)) || 400;
    canvas.height = Math.round((canvas.width * high) / wide);
  }
  const across = Math.min(canvases[0].width, MOST_PIXELS);
  const size = [across, Math.round((across * high) / wide)];
  const numbers = (plane, number) => plane && sample(plane, view, ...size, number);
  const under = numbers(section.ct, (code) => state.colours.brightness(code, state.window));
  const doses = [reference, predicted].map((plane) => numbers(plane, (code) => code * section.step));
  const both = reference && predicted;
  const error = both && doses[1].map((dose, i) => dose - doses[0][i]);
  const overlays = state.layer === "wash" ? doses : [null, null];
  const images = [
    state.colours.withDose(under, overlays[0], state.opacity),
    state.colours.withDose(under, overlays[1], state.opacity),
    both ? state.colours.withError(under, error, state.limit)
      : state.colours.withDose(under, null, 0),
  ];
  canvases.forEach((canvas, i) => {
    const context = canvas.getContext("2d");
    const small = new OffscreenCanvas(...size);
    small.getContext("2d").putImageData(new ImageData(images[i], ...size), 0, 0);
    context.imageSmoothingQuality = "high";
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
    const dose = [reference, predicted, null][i];
    const outlines = i ? contours : contours.filter(({ role }) => role === "");
    drawLines(context, canvas, section, state, dose, outlines);
    drawLabels(context, canvas, wide, section.sides);
  });
}

// Isodoses and contours; those of a prediction are dashed.
function drawLines(context, canvas, { view, step }, state, dose, contours) {
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

// The letters of both sides, and a 5 cm scale bar.
function drawLabels(context, canvas, wide, [left, right]) {
  const unit = canvas.width / 300, length = (50 / wide) * canvas.width;
  const [x, y] = [canvas.width - length - 6 * unit, canvas.height - 7 * unit];
  context.fillStyle = "#e8e8e8";
  context.font = `${12 * unit}px system-ui, sans-serif`;
  context.fillText(left, 4 * unit, 14 * unit);
  context.fillText(right, canvas.width - 13 * unit, 14 * unit);
  context.fillRect(x, y, length, 2 * unit);
  context.fillText("5 cm", x, y - 4 * unit);
}
