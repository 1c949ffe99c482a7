"""Pictures are written, the right way round, with what they should say."""

import numpy as np
import pytest
from matplotlib import image

from mtl_jax.core import errors, geometry, records, sites
from mtl_jax.study import figures
from mtl_jax.study.figures import sheet

SITE = sites.OPENKBP
SHAPE = (6, 40, 40)


@pytest.fixture
def patient() -> records.Patient:
    """A round body with bone in front on its right side, a cord and a target."""
    y, x = np.mgrid[:40, :40]
    ct = np.zeros(SHAPE, np.float32)
    ct[:, (y - 20) ** 2 + (x - 20) ** 2 < 15**2] = 1024 - 160  # drawn black
    bone = (y - 12) ** 2 + (x - 12) ** 2 < 4**2  # anterior: low y; right: low x
    ct[:, bone] = 2500
    cord, target = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    cord[:, 26:30, 18:22] = True
    target[2:4, 16:22, 20:28] = True
    dose = np.where(target, np.float32(70), np.float32(0))
    grid = geometry.Grid(SHAPE, (3.0, 4.0, 4.0))
    return records.Patient(
        "pt_1", grid, ct, {"SpinalCord": cord, "PTV70": target}, dose, None
    )


def draw(path, patient, **changes) -> np.ndarray:
    cord = np.roll(patient.structures["SpinalCord"], 1, 2)
    dose_gy = None if patient.dose_gy is None else patient.dose_gy * np.float32(0.9)
    given = dict(
        site=SITE,
        contours={"SpinalCord": cord, "Brainstem": np.zeros(SHAPE, bool)},
        dose_gy=dose_gy,
        dice={"SpinalCord": 0.75},
        mae_gy=1.5,
        title="pt_1 multi (test)",
        rows=2,
    )
    figures.prediction_figure(path, patient, **(given | changes))
    return image.imread(path)


def test_all_roles_have_a_picture(tmp_path, patient):
    both = draw(tmp_path / "new" / "both.png", patient)
    dose = draw(tmp_path / "dose.png", patient, contours=None, dice={})
    contours = draw(tmp_path / "contours.png", patient, dose_gy=None, mae_gy=None)
    assert both.shape[1] == dose.shape[1]  # four columns
    assert contours.shape[1] == pytest.approx(both.shape[1] / 2, rel=0.02)


def test_the_patient_s_right_is_on_the_left_and_the_front_above(tmp_path, patient):
    picture = draw(tmp_path / "p.png", patient, dose_gy=None, mae_gy=None, rows=1)
    per_inch = picture.shape[1] / (2 * (sheet.PANEL + sheet.GAP) + sheet.GAP)
    top = round((sheet.TITLE + sheet.COLUMN_TITLE) * per_inch)
    size = round(sheet.PANEL * per_inch)
    panel = picture[top : top + size, :size, :3].mean(-1)
    # Away from the labels at the edges.
    panel = panel[size // 6 : -size // 6, size // 6 : -size // 6]
    bright = np.argwhere(panel > 0.9).mean(0) / panel.shape
    assert bright[0] < 0.45 and bright[1] < 0.45


def test_what_the_figure_says(tmp_path, patient, monkeypatch):
    kept = []
    monkeypatch.setattr(sheet, "write", lambda drawing, path: kept.append(drawing))
    figures.prediction_figure(
        tmp_path / "p.png", patient, site=SITE,
        contours={n: np.zeros(SHAPE, bool) for n in ("SpinalCord", "Brainstem")},
        dose_gy=patient.dose_gy, dice={"SpinalCord": 0.5, "LeftParotid": float("nan")},
        mae_gy=1.5, title="pt_1 multi", rows=2,
    )  # fmt: skip
    (drawing,) = kept
    title = drawing.texts[0].get_text()
    assert "pt_1 multi" in title
    assert "mean Dice 0.500" in title and "dose MAE 1.50 Gy" in title
    legend = [text.get_text() for text in drawing.legends[0].get_texts()]
    assert legend == [
        "SpinalCord 0.50", "Brainstem (not contoured)",
        "reference", "predicted", "targets",
    ]  # fmt: skip
    columns = [a.get_title() for a in drawing.axes if a.get_title()]
    assert columns == [
        "CT and contours", "Reference dose", "Predicted dose", "Predicted - reference",
    ]  # fmt: skip


def test_a_patient_without_a_plan(tmp_path, patient):
    no_plan = records.Patient(
        "pt_1", patient.grid, patient.ct, patient.structures, None, None
    )
    draw(tmp_path / "contours.png", no_plan, dose_gy=np.zeros(SHAPE, np.float32))
    with pytest.raises(errors.RecordError, match="pt_1: nothing to draw"):
        draw(tmp_path / "no.png", no_plan, contours=None, dose_gy=None)


def test_a_perfect_prediction(tmp_path, patient):
    draw(tmp_path / "perfect.png", patient, dose_gy=patient.dose_gy)
    assert image.imread(tmp_path / "perfect.png").size


def test_training_curves(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(sheet, "write", lambda drawing, path: kept.append(drawing))
    rows = [
        {"step": s, "loss/dose": 1 / s, "loss/contours": 2 / s,
         "weight/dose": 1.1, "weight/contours": 0.9}
        for s in (10, 20, 30)
    ] + [{"step": 20, "validation/loss/dose": 0.5}]  # fmt: skip
    figures.training_curves_figure(tmp_path / "curves.png", rows)
    losses, weights = kept[0].axes
    by_label = {line.get_label(): line.get_xydata().tolist() for line in losses.lines}
    assert by_label["contours"] == [[10, 0.2], [20, 0.1], [30, 2 / 30]]
    assert by_label["dose, validation"] == [[20, 0.5]]
    assert len(weights.lines) == 2


def test_training_curves_of_one_task_are_written(tmp_path):
    rows = [{"step": s, "loss/dose": 1 / s, "weight/dose": 1.0} for s in (10, 20)]
    figures.training_curves_figure(tmp_path / "curves.png", rows)
    assert image.imread(tmp_path / "curves.png").size
    with pytest.raises(errors.RecordError, match="no training curves to draw"):
        figures.training_curves_figure(tmp_path / "none.png", [])
