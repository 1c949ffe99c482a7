// The dose-volume histogram of one patient: an SVG, and a table of values at one dose.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 640, HEIGHT = 380, MARGIN = { left: 46, right: 12, top: 10, bottom: 40 };

function svg(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

class Histogram {
  constructor(element, state) {
    Object.assign(this, { element, state });
    const { step, top, curves } = JSON.parse(element.querySelector("script").textContent);
    Object.assign(this, { step, top, curves });
    this.slider = element.querySelector("input");
    this.output = element.querySelector("output");
    this.slider.max = top;
    this.slider.value = Math.min(Math.round(state.prescription / 2), top);
    this.slider.addEventListener("input", () => this.updateTable());
    element.querySelector(".plot").addEventListener("pointermove", (event) => {
      const { left, width } = this.frame.getBoundingClientRect();
      const dose = (((event.clientX - left) / width) * WIDTH - MARGIN.left) / this.perGray;
      this.slider.value = Math.min(Math.max(dose, 0), top);
      this.updateTable();
    });
  }

  get perGray() {
    return (WIDTH - MARGIN.left - MARGIN.right) / this.top;
  }

  x(dose) {
    return MARGIN.left + dose * this.perGray;
  }

  y(percent) {
    return HEIGHT - MARGIN.bottom - (percent / 100) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  }

  draw() {
    const { role, visibleStructures } = this.state;
    const label = `Dose-volume histogram: reference solid, ${role} dashed. ` +
      "The table next to it lists the values.";
    this.frame = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
    this.axes();
    for (const source of ["", role]) {
      for (const [name, volumes] of Object.entries(this.curves[source] ?? {})) {
        if (!visibleStructures.has(name)) continue;
        const last = volumes.findLastIndex((volume) => volume > 0) + 1;
        const points = volumes.slice(0, last + 1).map((volume, i) =>
          `${this.x(i * this.step).toFixed(1)},${this.y(volume / 10).toFixed(1)}`);
        const line = svg("polyline", { points: points.join(" "), class: source ? "predicted" : "reference" });
        line.style.setProperty("--dark", this.state.colours.structure(name));
        line.style.setProperty("--light", this.state.colours.onWhite(name));
        this.frame.append(line);
      }
    }
    this.marker = svg("line", { class: "marker", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom });
    this.frame.append(this.marker);
    this.element.querySelector(".plot").replaceChildren(this.frame);
    this.updateTable();
  }

  axes() {
    const line = (x1, y1, x2, y2) => this.frame.append(svg("line", { x1, y1, x2, y2, class: "grid" }));
    const text = (x, y, content, anchor) =>
      this.frame.append(svg("text", { x, y, "text-anchor": anchor }, content));
    const every = this.top > 120 ? 20 : 10; // Gy
    for (let dose = 0; dose <= this.top; dose += every) {
      line(this.x(dose), this.y(0), this.x(dose), this.y(100));
      text(this.x(dose), HEIGHT - MARGIN.bottom + 16, dose, "middle");
    }
    for (let percent = 0; percent <= 100; percent += 20) {
      line(this.x(0), this.y(percent), this.x(this.top), this.y(percent));
      text(MARGIN.left - 6, this.y(percent) + 4, percent, "end");
    }
    text((WIDTH + MARGIN.left) / 2, HEIGHT - 6, "dose (Gy)", "middle");
    const label = svg("text", { "text-anchor": "middle",
      transform: `translate(12 ${HEIGHT / 2 - 15}) rotate(-90)` }, "volume (%)");
    this.frame.append(label);
  }

  // Fill the table with the volumes at the slider's dose.
  updateTable() {
    const dose = Number(this.slider.value), index = Math.round(dose / this.step);
    const text = `${dose.toFixed(1)} Gy`;
    this.output.textContent = text;
    this.slider.setAttribute("aria-valuetext", text);
    this.marker.setAttribute("x1", this.x(dose));
    this.marker.setAttribute("x2", this.x(dose));
    const rows = [];
    for (const [name, volumes] of Object.entries(this.curves[""] ?? {})) {
      if (!this.state.visibleStructures.has(name)) continue;
      const values = [volumes[index], this.curves[this.state.role]?.[name]?.[index]];
      const row = document.createElement("tr"), head = document.createElement("th");
      head.scope = "row";
      head.textContent = name;
      head.style.setProperty("--dark", this.state.colours.structure(name));
      head.style.setProperty("--light", this.state.colours.onWhite(name));
      row.append(head);
      const [reference, predicted] = values;
      values.push(predicted === undefined ? undefined : predicted - reference);
      values.forEach((value, i) => {
        const cell = document.createElement("td");
        cell.className = "number";
        const sign = i === 2 && value > 0 ? "+" : "";
        cell.textContent = value === undefined ? "–" : sign + (value / 10).toFixed(1);
        row.append(cell);
      });
      rows.push(row);
    }
    this.element.querySelector("tbody").replaceChildren(...rows);
  }
}
