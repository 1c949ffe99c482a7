// The slice viewer of one patient: reference, prediction and their difference.

const MOST_UNPACKED = 4; // patients in memory; others are unpacked again when needed
const unpacked = new Map();

class Viewer {
  constructor(element, state) {
    const [header, data] = element.querySelectorAll("script");
    Object.assign(this, { element, state, data, header: JSON.parse(header.textContent) });
    this.canvases = [...element.querySelectorAll(".panel canvas")];
    this.strip = element.querySelector(".strip");
    this.slider = element.querySelector("input");
    this.output = element.querySelector("output");
    this.pointer = element.querySelector(".pointer");
    this.positions = { axial: this.header.start };
    for (const name of ["coronal", "sagittal"]) {
      this.positions[name] = this.header.shape[PLANES[name].along] >> 1;
    }
    this.slider.addEventListener("input", () => {
      this.positions[this.state.plane] = Number(this.slider.value);
      this.draw();
    });
    element.querySelector(".worst").addEventListener("click", () => this.goToLargestError());
    for (const canvas of this.canvases) {
      canvas.addEventListener("pointermove", (event) => this.readPointer(event));
      canvas.addEventListener("pointerleave", () => this.readPointer(null));
    }
    this.strip.addEventListener("click", (event) => {
      const { left, width } = this.strip.getBoundingClientRect();
      this.goTo(Math.floor(((event.clientX - left) / width) * this.header.shape[0]));
    });
    this.readPointer(null);
    this.describe();
  }

  goTo(index) {
    if (this.state.plane !== "axial") return;
    this.positions.axial = Math.min(Math.max(index, 0), this.header.shape[0] - 1);
    this.draw();
  }

  goToLargestError() {
    const errors = this.header.error[this.state.role];
    if (errors) this.goTo(errors.indexOf(Math.max(...errors)));
  }

  async volume() {
    if (!unpacked.has(this)) unpacked.set(this, Volume.unpack(this.header, this.data.textContent));
    const volume = unpacked.get(this);
    unpacked.delete(this);
    unpacked.set(this, volume); // the most recently used is last
    for (const [other] of unpacked) if (unpacked.size > MOST_UNPACKED) unpacked.delete(other);
    return volume;
  }

  // Draws once for all changes since the last drawing.
  async draw() {
    this.describe();
    if (this.waiting) return;
    this.waiting = true;
    try {
      const volume = await this.volume();
      await new Promise(requestAnimationFrame);
      this.waiting = false;
      this.paint(volume);
      const { plane, zoom, role } = this.state;
      this.element.dataset.drawn = `${plane} ${this.position} ${zoom} ${role}`;
    } catch (error) {
      this.waiting = false;
      this.element.querySelector(".error-message").textContent = `The slices cannot be shown: ${error.message}.`;
    }
  }

  get position() {
    return this.positions[this.state.plane];
  }

  // Updates slider, texts and strip, which do not need the volumes.
  describe() {
    const { plane, role } = this.state, { header } = this;
    this.slider.max = header.shape[PLANES[plane].along] - 1;
    this.slider.value = this.position;
    let text = `${this.position + 1} of ${header.shape[PLANES[plane].along]}, ${plane}`;
    if (plane === "axial") {
      text = `${header.first + this.position * header.skip} (0 to ${header.slices - 1})`;
      const error = header.error[role]?.[this.position];
      if (error !== undefined) text += `, mean error ${error.toFixed(1)} Gy`;
    }
    this.output.textContent = text;
    text = `slice ${text}`;
    this.slider.setAttribute("aria-valuetext", text);
    const worst = this.element.querySelector(".worst"), errors = header.error[role];
    worst.disabled = plane !== "axial" || !errors;
    worst.textContent = `Largest error${errors ? `: ${Math.max(...errors).toFixed(1)} Gy` : ""}`;
    const titles = this.element.querySelectorAll(".panel h4");
    const known = role && header.doses.includes(role);
    titles[1].textContent = known ? role : `${role || "No prediction"} (no dose)`;
    titles[2].textContent = header.error[role] ? "Difference" : "No dose to compare";
    titles.forEach((title, i) => this.canvases[i].setAttribute("aria-label",
      `${title.textContent}, patient ${header.id}, ${text}`));
    this.paintStrip();
  }

  paintStrip() {
    const errors = this.header.error[this.state.role] ?? [];
    const { width, height } = this.strip, context = this.strip.getContext("2d");
    const highest = Math.max(...errors, 1), wide = width / this.header.shape[0];
    context.clearRect(0, 0, width, height);
    context.fillStyle = "#6ea8fe";
    errors.forEach((error, i) => {
      const high = (error / highest) * (height - 4);
      context.fillRect(i * wide, height - high, Math.max(wide - 1, 1), high);
    });
    if (this.state.plane !== "axial") return;
    context.fillStyle = "#ffffff";
    context.fillRect((this.position + 0.5) * wide - 1, 0, 2, height);
    this.strip.setAttribute("aria-label", errors.length
      ? `Mean dose error by slice, up to ${highest.toFixed(1)} Gy` : "No dose error by slice");
  }

  paint(volume) {
    const { state, header } = this;
    const { down, across, left, right, widest } = PLANES[state.plane];
    const cut = (array, options) => volume.plane(array, state.plane, this.position, options);
    const dose = (role) => volume.doses.has(role) ? cut(volume.doses.get(role)) : null;
    const ct = cut(volume.ct), whole = state.zoom === "whole";
    const spacing = [header.spacing[down], header.spacing[across]];
    const aspect = (ct.width * spacing[1]) / (ct.height * spacing[0]);
    this.section = {
      ct, spacing, sides: [left, right], step: header.step,
      view: viewOf(ct, spacing, whole ? aspect : Math.min(Math.max(aspect, 1), widest), whole),
      reference: dose(""), predicted: state.role ? dose(state.role) : null,
      contours: volume.masks
        .filter(({ role, name }) => (role === "" || role === state.role) && state.visibleStructures.has(name))
        .map(({ role, name, bits, bit }) => ({ role, name, lines: isolines(cut(bits, { bit }), 0.5) })),
    };
    paint(this.canvases, this.section, state);
  }

  // Shows CT and doses under the pointer.
  readPointer(event) {
    if (!event || !this.section) {
      this.pointer.textContent = "Point at an image to read CT and dose.";
      return;
    }
    const { left, top, width, height } = event.target.getBoundingClientRect();
    const { ct, reference, predicted, view } = this.section;
    const x = Math.floor(view.x + ((event.clientX - left) / width) * view.wide);
    const y = Math.floor(view.y + ((event.clientY - top) / height) * view.high);
    if (x < 0 || y < 0 || x >= ct.width || y >= ct.height) return;
    const at = y * ct.width + x;
    const values = [`CT ${this.state.colours.hu[ct.values[at]]} HU`];
    const gray = (plane) => plane.values[at] * this.header.step;
    if (reference) values.push(`reference ${gray(reference).toFixed(1)} Gy`);
    if (predicted) values.push(`${this.state.role} ${gray(predicted).toFixed(1)} Gy`);
    if (reference && predicted) {
      const difference = gray(predicted) - gray(reference);
      values.push(`difference ${difference > 0 ? "+" : ""}${difference.toFixed(1)} Gy`);
    }
    this.pointer.textContent = values.join("   ");
  }
}
