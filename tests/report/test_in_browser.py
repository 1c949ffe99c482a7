"""The report in a browser: controls work, and readings are right."""

import base64
import dataclasses
import time

import numpy as np
import pytest

from mtl_jax.core import records, sites
from mtl_jax.report import content, packed_volumes, page, render
from mtl_jax.sources.phantom import head_and_neck

SITE = sites.OPENKBP


@pytest.fixture(scope="module")
def patient():
    return head_and_neck.make_patient(0, 1)


def curve(dose_gy, mask):
    doses = np.arange(0, 100, 0.25)
    return doses, np.array([100 * np.mean(dose_gy[mask] >= dose) for dose in doses])


@pytest.fixture(scope="module")
def path(patient, tmp_path_factory):
    """A report of two patients; Multi predicts 0.9 of the dose and shifted contours."""
    less = patient.dose_gy * np.float32(0.9)
    moved = {n: np.roll(m, 3, 2) for n, m in patient.structures.items()}
    predictions = {"DL-Baseline": records.PredictedVolumes(None, moved),
                   "Multi": records.PredictedVolumes(less, moved)}  # fmt: skip
    histograms = {
        role: {name: curve(dose, mask) for name, mask in patient.structures.items()}
        for role, dose in (("", patient.dose_gy), ("Multi", less))
    }
    pages = [
        content.PatientPage(
            name, slices=packed_volumes.pack(patient, predictions, site=SITE),
            histograms=histograms,
        )
        for name in ("pt_1", "pt_2")
    ]  # fmt: skip
    no_plan = dataclasses.replace(patient, dose_gy=None)
    pages.append(
        content.PatientPage("pt_3", slices=packed_volumes.pack(no_plan, {}, site=SITE))
    )
    path = tmp_path_factory.mktemp("report") / "report.html"
    values = {"pt_1": 10.0, "pt_3": 9.0, "pt_2": 2.0, "pt_4": None}
    rows = tuple((render.Cell(name), render.Cell(v)) for name, v in values.items())
    columns = (render.Column("Patient"), render.Column("MAE"))
    table = render.Table("scores", "Scores", (), columns, rows)
    finding = content.Finding("failure", "missed", "pt_2")
    page.write(
        content.Report(
            "A study", SITE, findings=[finding], tables=[table], patients=pages
        ),
        path,
    )
    return path


@pytest.fixture
def tab(browser, path):
    """The report, freshly opened, at its first patient."""
    size = dict(width=1280, height=900, deviceScaleFactor=1, mobile=False)
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    browser.events.clear()
    browser.call("Page.navigate", url=path.as_uri())
    browser.wait("document.readyState === 'complete' && location.protocol === 'file:'")
    browser.run("document.querySelector('#patient-pt_1').scrollIntoView()")
    browser.wait("document.querySelector('#patient-pt_1 .viewer').dataset.drawn")
    yield browser
    assert not browser.complaints()
    asked = [event["params"]["request"]["url"] for event in browser.events
             if event["method"] == "Network.requestWillBeSent"]  # fmt: skip
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}


def choose(tab, name: str, value: str) -> None:
    tab.run(f"{{ const box = document.querySelector('#{name}'); box.value = '{value}';"
            " box.dispatchEvent(new Event('input', {bubbles: true})); }")  # fmt: skip


CANVASES = "[...document.querySelectorAll('#patient-pt_1 .panel canvas')]"
PICTURES = f"{CANVASES}.map(canvas => canvas.toDataURL())"
DRAWN = "document.querySelector('#patient-pt_1 .viewer').dataset.drawn"


def test_arrow_keys_move_the_slices(tab, patient):
    start = tab.run(DRAWN)
    assert start.startswith("axial ")
    before = tab.run(PICTURES)
    assert len(set(before)) == 3
    tab.run("document.querySelector('#slice-1').focus()")
    tab.press("ArrowRight")
    tab.wait(f"{DRAWN}.startsWith('axial {int(start.split()[1]) + 1} ')")
    after = tab.run(PICTURES)
    assert all(a != b for a, b in zip(before, after, strict=True))
    header = packed_volumes.pack(patient, {}, site=SITE).header
    z = header["first"] + int(start.split()[1]) + 1
    words = tab.run("document.querySelector('#slice-1').getAttribute('aria-valuetext')")
    assert words.startswith(f"slice {z} (0 to 127)")
    tab.press("ArrowLeft")
    tab.wait(f"{DRAWN} === '{start}'")
    assert tab.run(PICTURES) == before


def view(seen: np.ndarray, spacing: list[float], zoom: str, widest: float):
    """Left, top, width and height in voxels of what a picture shows of a plane."""
    (high, wide), (dy, dx) = seen.shape, spacing
    aspect = wide * dx / (high * dy)
    left, top, right, bottom = 0, 0, wide, high
    if zoom == "fit":
        aspect = min(max(aspect, 1), widest)
        rows, columns = np.nonzero(seen)
        left, right = columns.min() - 2, columns.max() + 3
        top, bottom = rows.min() - 2, rows.max() + 3
    tall = max(bottom - top, (right - left) * dx / aspect / dy)
    across = tall * dy * aspect / dx
    return (left + right - across) / 2, (top + bottom - tall) / 2, across, tall


@pytest.mark.parametrize("zoom", ["fit", "whole"])
@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_the_pointer_reads_ct_and_doses(tab, patient, plane, zoom):
    choose(tab, "role", "Multi")
    choose(tab, "zoom", zoom)
    choose(tab, "plane", plane)
    tab.wait(f"/^{plane} [0-9]+ {zoom}/.test({DRAWN})")
    packed = packed_volumes.pack(
        patient, {"Multi": records.PredictedVolumes(patient.dose_gy)}, site=SITE
    )
    size, first = packed.header["shape"], packed.header["first"]
    seen = patient.ct > 0
    low = [max(int(np.flatnonzero(seen.any(others))[0]) - 2, 0)
           for others in ((1, 2), (0, 2), (0, 1))]  # fmt: skip
    assert low[0] == first
    at = int(tab.run(DRAWN).split()[1])
    along = ("axial", "coronal", "sagittal").index(plane)
    where = [n // 2 + 3 for n in size]
    where[along] = at
    down, across = [axis for axis in range(3) if axis != along]
    row = size[0] - 1 - where[0] if down == 0 else where[down]
    box = tab.run(f"(({{x, y, width, height}}) => [x, y, width, height])"
                  f"({CANVASES}[0].getBoundingClientRect())")  # fmt: skip
    cut = seen[tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))]
    shown_plane = np.pad(cut.take(at, along), 1)
    shown_plane = shown_plane[::-1] if down == 0 else shown_plane
    spacing = [packed.header["spacing"][axis] for axis in (down, across)]
    left, top, wide, high = view(shown_plane, spacing, zoom, 1.25 if down else 2)
    x = box[0] + box[2] * (where[across] + 1.5 - left) / wide
    y = box[1] + box[3] * (row + 1.5 - top) / high
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    words = tab.run("document.querySelector('#patient-pt_1 .pointer').textContent")
    voxel = tuple(start + offset for start, offset in zip(low, where, strict=True))
    numbers = {w.rsplit(" ", 2)[0]: float(w.rsplit(" ", 2)[1])
               for w in words.split("   ")}  # fmt: skip
    half_step = packed.header["step"] / 2 + 0.06
    assert numbers["reference"] == pytest.approx(patient.dose_gy[voxel], abs=half_step)
    assert numbers["Multi"] == pytest.approx(
        0.9 * patient.dose_gy[voxel], abs=half_step
    )
    hu = patient.ct[voxel] - 1024
    assert numbers["CT"] == pytest.approx(hu, abs=2.5 if abs(hu) < 180 else 16)


def test_the_role_is_chosen_for_all_patients(tab):
    choose(tab, "role", "DL-Baseline")
    title = "document.querySelector('#patient-pt_1 .panel:nth-child(2) h4').textContent"
    assert tab.run(title) == "DL-Baseline (no dose)"
    tab.wait(f"{DRAWN}.endsWith(' DL-Baseline')")
    before = tab.run(PICTURES)
    choose(tab, "role", "Multi")
    tab.wait(f"{title} === 'Multi'")
    tab.wait(f"{DRAWN}.endsWith(' Multi')")
    assert tab.run(PICTURES)[1:] != before[1:]
    assert tab.run(PICTURES)[0] == before[0]  # the reference is the same


def test_a_patient_without_plan_or_prediction(tab):
    tab.run("document.querySelector('#patient-pt_3').scrollIntoView()")
    tab.wait("document.querySelector('#patient-pt_3 .viewer').dataset.drawn")
    titles = (
        "[...document.querySelectorAll('#patient-pt_3 h4')].map(h => h.textContent)"
    )
    assert tab.run(titles) == ["Reference", "Multi (no dose)", "No dose to compare"]
    assert tab.run("document.querySelector('#patient-pt_3 .worst').disabled")


def test_structures_can_be_left_out(tab):
    before = tab.run(PICTURES)
    tab.run("document.querySelector('[data-structures=none]').click()")
    tab.wait(f"{PICTURES}[0] !== '{before[0]}'")
    assert tab.run("document.querySelectorAll('#patient-pt_1 polyline').length") == 0
    tab.run("document.querySelector('[data-structures=all]').click()")
    tab.wait(f"{PICTURES}[0] === '{before[0]}'")


def test_the_histogram_is_read_by_keys(tab, patient):
    choose(tab, "role", "Multi")
    # The pointer moves the dose too, where a page that scrolls comes to lie under it.
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=0, y=0)
    slider = "document.querySelector('#dose-1')"
    tab.run(f"{slider}.focus()")
    before = float(tab.run(f"{slider}.value"))
    tab.press("ArrowRight")
    dose = float(tab.run(f"{slider}.value"))
    assert dose == before + 0.5
    rows = tab.run("[...document.querySelectorAll('#patient-pt_1 .reading tbody tr')]"
                   ".map(r => [...r.children].map(c => c.textContent))")  # fmt: skip
    assert [row[0] for row in rows] == list(patient.structures)
    for name, reference, predicted, difference in rows:
        values = patient.dose_gy[patient.structures[name]]
        expected = [100 * np.mean(values >= dose), 100 * np.mean(0.9 * values >= dose)]
        found = [float(reference), float(predicted)]
        assert found == pytest.approx(expected, abs=0.06)
        assert float(difference) == pytest.approx(found[1] - found[0], abs=0.06)


def test_a_click_sorts_a_table(tab):
    first = (
        "[...document.querySelectorAll('#results tbody th')].map(h => h.textContent)"
    )
    click = "document.querySelectorAll('#results .sort')[1].click()"
    tab.run(click)
    assert tab.run(first) == ["pt_2", "pt_3", "pt_1", "pt_4"]
    sorted_by = "document.querySelectorAll('#results thead th')[1].ariaSort"
    assert tab.run(sorted_by) == "ascending"
    tab.run(click)
    assert tab.run(first) == ["pt_1", "pt_3", "pt_2", "pt_4"]
    assert tab.run(sorted_by) == "descending"


def test_keyboard_and_screen_reader(tab, path):
    tab.call("Page.navigate", url=path.as_uri())
    tab.wait("document.readyState === 'complete' && window.scrollY === 0")
    tab.press("Tab")
    assert tab.run("document.activeElement.className") == "skip"
    assert tab.run("document.activeElement.getBoundingClientRect().left") >= 0
    assert "solid" in tab.run("getComputedStyle(document.activeElement).outlineStyle")
    tab.press("Enter")
    assert tab.run("location.hash") == "#main"
    tab.call("Accessibility.enable")
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    named = ("slider", "combobox", "checkbox", "button", "link", "image", "region",
             "table", "navigation", "form", "group", "figure")  # fmt: skip
    found = set()
    for node in nodes:
        role = node.get("role", {}).get("value")
        if role in named and not node.get("ignored"):
            found.add(role)
            assert node.get("name", {}).get("value"), node
    assert {"slider", "combobox", "checkbox", "button", "region"} <= found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_a_screenshot(tab, tmp_path, scheme, width):
    scale = dict(width=width, height=900, deviceScaleFactor=1, mobile=False)
    tab.call("Emulation.setDeviceMetricsOverride", **scale)
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    tab.call("Emulation.setEmulatedMedia", features=media)
    tab.run("document.querySelector('#patient-pt_1').scrollIntoView()")
    time.sleep(0.3)
    picture = np.asarray(tab.screenshot())
    assert picture.shape == (900, width, 3)
    assert (picture[450, 1].mean() > 200) == (scheme == "light")
    assert np.ptp(picture, axis=-1).max() > 100  # colours: dose and contours
    wider = tab.run("document.documentElement.scrollWidth")
    assert wider <= width  # nothing to scroll sideways


def test_it_prints(tab):
    data = tab.call("Page.printToPDF", printBackground=True)["data"]
    assert base64.b64decode(data).startswith(b"%PDF-")


def test_the_slice_with_the_largest_error(tab, patient):
    choose(tab, "role", "Multi")
    button = "document.querySelector('#patient-pt_1 .worst')"
    tab.run(f"{button}.click()")
    inside = patient.possible_dose_mask
    sums = (0.1 * patient.dose_gy * inside).sum((1, 2))
    means = sums / np.maximum(inside.sum((1, 2)), 1)
    assert tab.run(f"{button}.textContent") == f"Largest error: {means.max():.1f} Gy"
    words = tab.run(
        "document.querySelector('#patient-pt_1 .slider output').textContent"
    )
    assert words.startswith(
        f"{np.argmax(means)} (0 to 127), mean error {means.max():.1f}"
    )
    tab.wait(f"{DRAWN}.endsWith(' Multi')")
