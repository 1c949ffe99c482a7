"""Figures are written, correctly oriented, with the right labels."""

import dataclasses

import numpy as np
import pytest
from matplotlib import image

from mtl_jax.core import errors, geometry, records, sites
from mtl_jax.figures import (
    calibration_plot,
    colours,
    dvh_plot,
    panel_grid,
    patient_figure,
    prediction_figure,
    role_comparison,
    training_curves,
)

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
    prediction_figure.draw(path, patient, **(given | changes))
    return image.imread(path)


def test_all_roles_have_a_picture(tmp_path, patient):
    both = draw(tmp_path / "new" / "both.png", patient)
    dose = draw(tmp_path / "dose.png", patient, contours=None, dice={})
    contours = draw(tmp_path / "contours.png", patient, dose_gy=None, mae_gy=None)
    assert both.shape[1] == dose.shape[1]  # four columns
    assert contours.shape[1] == pytest.approx(both.shape[1] / 2, rel=0.02)


def test_a_legend_says_what_no_slice_shows(tmp_path, patient, monkeypatch):
    texts: list[str] = []

    def keep(self, path, title, handles) -> None:
        texts.extend(panel.get_title() for panel in self.panels.values())
        texts.extend(handle.get_label() for handle in handles)

    monkeypatch.setattr(panel_grid.PanelGrid, "save", keep)
    brainstem, shown = np.zeros(SHAPE, bool), []
    brainstem[5] = True
    monkeypatch.setattr(
        patient_figure.slice_choice, "choose_slices", lambda *_: [1, 2, 3]
    )
    for structures in (
        {"SpinalCord": patient.structures["SpinalCord"], "Brainstem": brainstem},
        patient.structures,
    ):
        texts.clear()
        patient_figure.draw(
            tmp_path / "p.png",
            dataclasses.replace(patient, structures=structures),
            site=SITE,
            title="",
            names=("SpinalCord", "Brainstem", "PTV70"),
        )
        shown.append([text for text in texts if text])
    assert shown[0] == [
        *("CT and contours", "Dose"),
        *("SpinalCord", "Brainstem (other slices)", "PTV70 (none)"),
    ]
    assert shown[1] == [
        *("CT and contours", "Dose and targets (white)"),
        *("SpinalCord", "Brainstem (none)", "PTV70"),
    ]


def test_the_patient_s_right_is_on_the_left_and_the_front_above(tmp_path, patient):
    picture = draw(tmp_path / "p.png", patient, dose_gy=None, mae_gy=None, rows=1)
    per_inch = picture.shape[1] / (
        2 * (panel_grid.PANEL_WIDTH + panel_grid.GAP) + panel_grid.GAP
    )
    top = round((panel_grid.TITLE + panel_grid.COLUMN_TITLE) * per_inch)
    size = round(panel_grid.PANEL_WIDTH * per_inch)
    panel = picture[top : top + size, :size, :3].mean(-1)
    # Away from the labels at the edges.
    panel = panel[size // 6 : -size // 6, size // 6 : -size // 6]
    bright = np.argwhere(panel > 0.9).mean(0) / panel.shape
    assert bright[0] < 0.45 and bright[1] < 0.45


def test_what_the_figure_says(tmp_path, patient, monkeypatch):
    captured = []
    monkeypatch.setattr(panel_grid, "write_png", lambda fig, path: captured.append(fig))
    prediction_figure.draw(
        tmp_path / "p.png", patient, site=SITE,
        contours={n: np.zeros(SHAPE, bool) for n in ("SpinalCord", "Brainstem")},
        dose_gy=patient.dose_gy, dice={"SpinalCord": 0.5, "LeftParotid": float("nan")},
        mae_gy=1.5, title="pt_1 multi", rows=2,
    )  # fmt: skip
    (fig,) = captured
    title = fig.texts[0].get_text()
    assert "pt_1 multi" in title
    assert "mean Dice 0.500" in title and "dose MAE 1.50 Gy" in title
    legend = [text.get_text() for text in fig.legends[0].get_texts()]
    assert legend == [
        "SpinalCord 0.50", "Brainstem (not contoured)",
        "reference", "predicted", "targets",
    ]  # fmt: skip
    columns = [a.get_title() for a in fig.axes if a.get_title()]
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
    captured = []
    monkeypatch.setattr(panel_grid, "write_png", lambda fig, path: captured.append(fig))
    rows = [
        {"step": s, "loss/dose": 1 / s, "loss/contours": 2 / s,
         "weight/dose": 1.1, "weight/contours": 0.9}
        for s in (10, 20, 30)
    ] + [{"step": 20, "validation/loss/dose": 0.5}]  # fmt: skip
    training_curves.draw(tmp_path / "curves.png", rows)
    losses, weights = captured[0].axes
    by_label = {line.get_label(): line.get_xydata().tolist() for line in losses.lines}
    assert by_label["contours"] == [[10, 0.2], [20, 0.1], [30, 2 / 30]]
    assert by_label["dose, validation"] == [[20, 0.5]]
    assert len(weights.lines) == 2


def test_training_curves_of_one_task_are_written(tmp_path):
    rows = [{"step": s, "loss/dose": 1 / s, "weight/dose": 1.0} for s in (10, 20)]
    training_curves.draw(tmp_path / "curves.png", rows)
    assert image.imread(tmp_path / "curves.png").size
    with pytest.raises(errors.RecordError, match="no training curves to draw"):
        training_curves.draw(tmp_path / "none.png", [])


def case(label, patient, *, dose=0.9, moved=1) -> role_comparison.Case:
    """Two roles: one contours and predicts `dose` of the dose, one only contours."""
    cord = {"SpinalCord": np.roll(patient.structures["SpinalCord"], moved, 2)}
    both = records.PredictedVolumes(patient.dose_gy * np.float32(dose), cord)
    return role_comparison.Case(
        label,
        patient,
        {"DL-Baseline": records.PredictedVolumes(None, cord), "Multi": both},
        mae_gy={"Multi": 1.25},
        dice={"DL-Baseline": {"SpinalCord": 0.5}, "Multi": {"SpinalCord": 0.75}},
    )


def capture_figures(monkeypatch):
    captured = []
    monkeypatch.setattr(panel_grid, "write_png", lambda fig, path: captured.append(fig))
    return captured


def texts(fig) -> list[str]:
    return [text.get_text() for axis in fig.axes for text in axis.texts]


def titles(fig) -> list[str]:
    return [axis.get_title() for axis in fig.axes if axis.get_title()]


def test_best_median_and_worst():
    scores = {"a": 3.0, "b": 1.0, "c": float("nan"), "d": 5.0, "e": 2.0, "f": 4.0}
    chosen = role_comparison.choose_cases(scores, lower_is_better=True)
    assert chosen == [("best", "b"), ("median", "a"), ("worst", "d")]
    chosen = role_comparison.choose_cases(scores, lower_is_better=False)
    assert chosen == [("best", "d"), ("median", "a"), ("worst", "b")]
    few = {"a": 2.0, "b": 1.0}
    assert [
        who for _, who in role_comparison.choose_cases(few, lower_is_better=True)
    ] == [
        "b",
        "a",
    ]
    assert role_comparison.choose_cases({"a": 1.0}, lower_is_better=True) == [
        ("best", "a")
    ]
    assert role_comparison.choose_cases({"a": float("nan")}, lower_is_better=True) == []


def test_doses_of_the_roles(tmp_path, patient, monkeypatch):
    captured = capture_figures(monkeypatch)
    cases = [case("best", patient), case("worst", patient, dose=0.5)]
    role_comparison.draw_doses(tmp_path / "d.png", cases, site=SITE, title="Doses")
    (fig,) = captured
    # A role without a dose has no column.
    assert titles(fig) == ["CT", "Reference dose", "Multi"]
    assert texts(fig).count("MAE 1.25 Gy") == 2
    assert "Best: pt_1" in texts(fig) and "Worst: pt_1" in texts(fig)
    errors_gy = [
        axis.images[0].get_array()
        for axis in fig.axes
        if axis.images and axis.images[0].cmap.name == "berlin"
    ]
    lowest = [float(error_gy.min()) for error_gy in errors_gy]
    assert lowest == pytest.approx([-7.0, -35.0])
    limits = {a.images[0].norm.vmax for a in fig.axes if a.images and
              a.images[0].cmap.name == "berlin"}  # fmt: skip
    assert limits == {35.0}  # one scale for all


def test_contours_of_the_roles(tmp_path, patient, monkeypatch):
    captured = capture_figures(monkeypatch)
    names = ("SpinalCord", "Brainstem")
    role_comparison.draw_contours(
        tmp_path / "c.png", [case("best", patient)], site=SITE, names=names,
        title="Contours", rows=2,
    )  # fmt: skip
    (fig,) = captured
    assert titles(fig) == ["CT", "Reference", "DL-Baseline", "Multi"]
    assert len(fig.axes) == 8
    shown_texts = texts(fig)
    assert "Dice 0.500\nSpinalCord 0.50\nBrainstem -" in shown_texts
    assert "Dice 0.750\nSpinalCord 0.75\nBrainstem -" in shown_texts
    # Reference: its outline; predictions: the reference's and their own.
    drawn = [len(axis.collections) for axis in fig.axes]
    assert drawn == [0, 1, 2, 2] * 2


def test_the_worst_patient_is_shown_where_it_is_worst(tmp_path, patient, monkeypatch):
    captured = capture_figures(monkeypatch)
    worst = case("worst", patient)
    dose_gy = patient.dose_gy.copy()
    dose_gy[1] += 50
    cord = {"SpinalCord": patient.structures["SpinalCord"].copy()}
    cord["SpinalCord"][1] ^= True
    prediction = records.PredictedVolumes(dose_gy, cord)
    worst = dataclasses.replace(worst, predictions={"Multi": prediction})
    role_comparison.draw_doses(tmp_path / "d.png", [worst], site=SITE, title="t")
    role_comparison.draw_contours(
        tmp_path / "c.png", [worst], site=SITE, names=("SpinalCord",), title="t", rows=1
    )
    for fig in captured:
        assert "slice 1 (largest errors)" in texts(fig)
    # Neither where no dose is possible, nor where the CT is empty.
    possible = np.ones(SHAPE, bool)
    possible[1] = False
    ct = patient.ct.copy()
    ct[1] = 0
    elsewhere = dataclasses.replace(patient, ct=ct, possible_dose_mask=possible)
    moved = dataclasses.replace(worst, patient=elsewhere)
    role_comparison.draw_doses(tmp_path / "d.png", [moved], site=SITE, title="t")
    role_comparison.draw_contours(
        tmp_path / "c.png", [moved], site=SITE, names=("SpinalCord",), title="t", rows=1
    )
    for fig in captured[2:]:
        assert "slice 1 (largest errors)" not in texts(fig)
    best = dataclasses.replace(worst, label="best")
    role_comparison.draw_doses(tmp_path / "d.png", [best], site=SITE, title="t")
    assert not any("largest errors" in text for text in texts(captured[-1]))


def test_comparisons_are_written_or_refused(tmp_path, patient):
    first, second = tmp_path / "1.png", tmp_path / "2.png"
    for path in (first, second):
        role_comparison.draw_doses(path, [case("best", patient)], site=SITE, title="t")
    assert first.read_bytes() == second.read_bytes()
    only = role_comparison.Case(
        "best", patient, {"DL-Baseline": records.PredictedVolumes()}
    )
    with pytest.raises(errors.RecordError, match="no dose to compare: 1 patients"):
        role_comparison.draw_doses(first, [only], site=SITE, title="t")
    no_plan = dataclasses.replace(patient, dose_gy=None)
    cases = [dataclasses.replace(case("best", patient), patient=no_plan)]
    with pytest.raises(errors.RecordError, match="pt_1 has no dose to compare with"):
        role_comparison.draw_doses(first, cases, site=SITE, title="t")


def test_histograms_have_a_panel_a_role(tmp_path, monkeypatch):
    captured = capture_figures(monkeypatch)
    dose = np.array([0.0, 30.0, 60.0])
    curves = {"PTV70": (dose, np.array([100.0, 90.0, 0.0])),
              "SpinalCord": (dose, np.array([100.0, 10.0, 0.0]))}  # fmt: skip
    less = {"SpinalCord": (dose / 2, np.array([100.0, 10.0, 0.0]))}
    dvh_plot.draw(
        tmp_path / "dvh.png", reference=curves,
        predictions={"Baseline": curves, "Multi": less, "Third": {}},
        site=SITE, title="pt_1",
    )  # fmt: skip
    (fig,) = captured
    assert titles(fig) == ["Baseline", "Multi", "Third"]
    assert [len(axis.lines) for axis in fig.axes] == [4, 3, 2, 0]
    cord, dashed, _ = fig.axes[1].lines
    assert cord.get_linestyle() == "-" and dashed.get_linestyle() == "--"
    assert cord.get_color() == dashed.get_color()
    assert dashed.get_xydata().tolist() == [[0, 100], [15, 10], [30, 0]]
    legend = [text.get_text() for text in fig.legends[0].get_texts()]
    assert legend == ["SpinalCord", "PTV70", "reference", "predicted"]
    with pytest.raises(errors.RecordError, match="pt_1: no histogram to draw"):
        dvh_plot.draw(tmp_path / "no.png", reference={}, predictions={},
                           site=SITE, title="pt_1")  # fmt: skip


def test_reliability_over_the_diagonal(tmp_path, monkeypatch):
    captured = capture_figures(monkeypatch)
    points = (np.array([0.1, 0.9]), np.array([0.0, 0.8]))
    by_role = {"Multi": {"SpinalCord": points}, "DL-Baseline": {"PTV70": points}}
    calibration_plot.draw(tmp_path / "c.png", by_role, site=SITE)
    (fig,) = captured
    diagonal, curve = fig.axes[0].lines
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert curve.get_xydata().tolist() == [[0.1, 0.0], [0.9, 0.8]]
    legend = [text.get_text() for text in fig.legends[0].get_texts()]
    assert legend == ["SpinalCord", "PTV70"]
    with pytest.raises(errors.RecordError, match="no contour probabilities"):
        calibration_plot.draw(tmp_path / "no.png", {}, site=SITE)


def test_runs_over_each_other(tmp_path, monkeypatch):
    captured = capture_figures(monkeypatch)
    single = [{"step": s, "loss/dose": 1 / s, "weight/dose": 1.0} for s in (10, 20)]
    both = [
        {"step": s, "loss/dose": 2 / s, "weight/dose": 1.1, "loss/contours": 3 / s,
         "weight/contours": 0.9, "gamma/dose": s / 100, "gamma/contours": -s / 100}
        for s in (10, 20)
    ]  # fmt: skip
    training_curves.draw_comparison(
        tmp_path / "t.png", {"Baseline": [single], "Multi": [both, both]}
    )
    contours, dose, weight, gamma = captured[0].axes
    labels = [[text.get_text() for text in axis.legend_.get_texts()]
              for axis in (contours, dose, weight, gamma)]  # fmt: skip
    tasks = ["Multi, contours", "Multi, dose"]
    assert labels == [["Multi"], ["Baseline", "Multi"], tasks, tasks]
    # A line for training and one for validation of each seed.
    assert [len(axis.lines) for axis in (contours, dose)] == [4, 6]
    assert gamma.lines[1].get_xydata().tolist() == [[10, 0.1], [20, 0.2]]
    training_curves.draw(tmp_path / "one.png", both)
    assert [axis.get_title() for axis in captured[1].axes] == [
        "Loss", "Weight of the task", "Gamma",
    ]  # fmt: skip


def test_colours_on_white_can_be_told_from_it():
    for structure in SITE.structures:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
                  for c in colours.on_white(structure.colour)]  # fmt: skip
        luminance = np.dot(linear, (0.2126, 0.7152, 0.0722))
        assert 1.05 / (luminance + 0.05) >= 2.99  # WCAG's contrast for graphics
    assert colours.on_white((0, 114, 178)) == pytest.approx((0, 114 / 255, 178 / 255))
