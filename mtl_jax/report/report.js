// What the viewers share: colours, controls, and drawing only what is on screen.

class Colours {
  constructor(settings) {
    const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    Object.assign(this, { settings, hu: settings.hu });
    this.dose = bytes(settings.doseMap);
    this.error = bytes(settings.errorMap);
    this.structures = new Map(settings.structures.map((structure) => [structure.name, structure]));
  }

  structure(name) {
    return `rgb(${this.structures.get(name)?.colour ?? [200, 200, 200]})`;
  }

  onWhite(name) {
    return `rgb(${this.structures.get(name)?.onWhite ?? [90, 90, 90]})`;
  }

  // Percentage of the prescription, dose in Gy and colour of each isodose.
  isodoses() {
    const { isodoses, prescription, top } = this.settings;
    return isodoses.map((percent) => {
      const gray = (percent / 100) * prescription;
      const at = 3 * Math.min(Math.round((gray / top) * 255), 255);
      return { percent, gray, colour: `rgb(${this.dose.slice(at, at + 3)})` };
    });
  }

  isodoseLegend() {
    const labels = this.isodoses().map(({ percent, gray, colour }) => {
      const label = Object.assign(document.createElement("span"), {
        className: "isodose", textContent: `${percent}`, title: `${gray.toFixed(1)} Gy`,
      });
      label.style.borderColor = colour;
      return label;
    });
    return [...labels, Object.assign(document.createElement("span"), {
      textContent: "%", title: `of ${this.settings.prescription} Gy`,
    })];
  }

  // The brightness of a CT code, 0 to 255.
  brightness(code, name) {
    const [low, high] = WINDOWS[name];
    return 255 * Math.min(Math.max((this.hu[code] - low) / (high - low), 0), 1);
  }

  // RGBA of a CT (brightness) with a dose in Gy over it; null: the CT alone.
  withDose(under, dose, opacity) {
    const { faint, top } = this.settings;
    return blend(under, dose, this.dose, (gray) => gray / top,
      (gray) => clip(gray / faint - 0.5) * opacity);
  }

  // RGBA of an error in Gy over a dimmed CT; small errors are transparent.
  withError(under, error, limit) {
    return blend(under.map((bright) => 0.35 * bright), error, this.error,
      (gray) => 0.5 + gray / limit / 2, (gray) => clip(Math.abs(gray) / (0.15 * limit)));
  }

  gradient(map) {
    const stops = Array.from({ length: 17 }, (_, i) => {
      const at = 3 * Math.min(i * 16, 255);
      return `rgb(${map.slice(at, at + 3)})`;
    });
    return `linear-gradient(to right, ${stops})`;
  }
}

const clip = (value) => Math.min(Math.max(value, 0), 1);

// RGBA of `over` on the brightness `under`; `position` (0 to 1) selects the map's colour.
function blend(under, over, map, position, opacity) {
  const pixels = new Uint8ClampedArray(4 * under.length);
  for (let i = 0; i < under.length; i++) {
    const alpha = over ? opacity(over[i]) : 0, bright = under[i] * (1 - alpha);
    const at = alpha ? 3 * Math.round(clip(position(over[i])) * 255) : 0;
    pixels[4 * i] = bright + map[at] * alpha;
    pixels[4 * i + 1] = bright + map[at + 1] * alpha;
    pixels[4 * i + 2] = bright + map[at + 2] * alpha;
    pixels[4 * i + 3] = 255;
  }
  return pixels;
}

function fillColourBar(element, gradient, texts) {
  const colours = document.createElement("span");
  colours.style.background = gradient;
  const [low, high] = texts.map((text) => Object.assign(document.createElement("span"), { textContent: text }));
  element.replaceChildren(low, colours, high);
}

function connectControls(form, state, onChange) {
  const choices = ["role", "layer", "plane", "zoom", "window", "limit", "opacity"];
  const read = () => {
    for (const name of choices) state[name] = form.querySelector(`#${name}`).value;
    state.limit = Number(state.limit);
    state.opacity = Number(state.opacity) / 100;
    state.visibleStructures = new Set([...form.querySelectorAll("[name=structure]:checked")].map((box) => box.value));
    const { colours } = state, { top } = colours.settings;
    const doses = form.querySelector("#dose-bar"), errors = form.querySelector("#error-bar");
    if (state.layer === "lines") doses.replaceChildren(...colours.isodoseLegend());
    else fillColourBar(doses, colours.gradient(colours.dose), ["0", `${top} Gy`]);
    fillColourBar(errors, colours.gradient(colours.error), [`−${state.limit}`, `+${state.limit} Gy`]);
  };
  const update = () => { read(); onChange(); };
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("click", (event) => {
    const wanted = event.target.dataset.structures;
    if (!wanted) return;
    for (const box of form.querySelectorAll("[name=structure]")) box.checked = wanted === "all";
    update();
  });
  read();
}

function start() {
  const form = document.querySelector(".controls");
  if (!form) return;
  const settings = JSON.parse(document.querySelector("#settings").textContent);
  const state = { colours: new Colours(settings), prescription: settings.prescription };
  const onScreen = new Set();
  connectControls(form, state, () => onScreen.forEach((part) => part.draw()));
  const parts = new Map();
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const kind = target.classList.contains("viewer") ? Viewer : Histogram;
      if (isIntersecting && !parts.has(target)) parts.set(target, new kind(target, state));
      const part = parts.get(target);
      if (!part) continue;
      if (isIntersecting) { onScreen.add(part); part.draw(); } else onScreen.delete(part);
    }
  }, { rootMargin: "300px" });
  document.querySelectorAll(".viewer, .histogram").forEach((element) => observer.observe(element));
  // Unpacking slices takes time, so only those that were on screen are printed.
  window.addEventListener("beforeprint", () => {
    for (const element of document.querySelectorAll(".histogram")) {
      if (!parts.has(element)) parts.set(element, new Histogram(element, state));
      parts.get(element).draw();
    }
  });
  let resizing;
  window.addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(() => onScreen.forEach((part) => part.draw()), 150);
  });
}

// A click on a column's header sorts the table by it; a second click reverses the order.
function makeSortable(table) {
  const body = table.tBodies[0], [first, second] = table.tHead.rows;
  if (body.rows.length < 4 || body.querySelector(".rule")) return;
  const below = second ? [...second.cells] : [];
  const heads = [...first.cells].flatMap((head) =>
    head.scope === "colgroup" ? below.splice(0, head.colSpan) : [head]);
  const value = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = parseFloat(text.replace("−", "-").replace(/^[<>≤≥±†*\s]+/, ""));
    return Number.isNaN(number) ? text : number;
  };
  // Numbers come before texts, such as notes on missing values.
  const compare = (a, b, sign) => typeof a === typeof b
    ? sign * ((a > b) - (a < b)) : (typeof a === "string") - (typeof b === "string");
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = Object.assign(document.createElement("button"), { type: "button", className: "sort" });
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const rows = [...body.rows].sort((a, b) => compare(value(a, column), value(b, column), sign));
      body.append(...rows);
    });
  });
}

document.querySelectorAll("main .scroll table").forEach(makeSortable);
start();
