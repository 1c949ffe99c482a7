"""A new metric, role and site, added to the tables without a change to the package.

The walks of docs/how-to/extend.md, taken.
"""

import dataclasses

import numpy as np
import pytest

from mtl_jax.configs import openkbp, prostate
from mtl_jax.core import config as configs
from mtl_jax.core import errors, geometry, metric_names, records, roles, sites
from mtl_jax.evaluation import scoring
from mtl_jax.inference import volumes
from mtl_jax.metrics import contour_metrics, dose_metrics, dvh, target_coverage
from mtl_jax.pipeline import image_channels, mask_bits
from mtl_jax.run import wiring

# Voxels of 0.2 cubic centimetres, in a row.
GRID = geometry.Grid((1, 1, 8), (2.0, 10.0, 10.0))
DOSE_GY = np.array([[[10.0, 20.0, 30.0, 40.0, 0.0, 0.0, 0.0, 0.0]]], np.float32)


def mask(*voxels: int) -> np.ndarray:
    found = np.zeros(GRID.shape, bool)
    found[0, 0, list(voxels)] = True
    return found


def rows_of(config, structures, prediction) -> dict[tuple[str, str], scoring.Row]:
    """The evaluation of one patient, as a run of `config` scores it."""
    ct = np.zeros(GRID.shape, np.float32)
    patient = records.Patient("pt_1", GRID, ct, structures, DOSE_GY, None)
    rows = scoring.score(patient, prediction, scoring.Rules.of(configs.check(config)))
    return {(row.structure, row.metric): row for row in rows if not row.variant}


@pytest.fixture
def add_metric(monkeypatch):
    """Add a row to the table of names, and a rule to the rules of its scope."""
    rules = {"patient": dose_metrics, "dvh": dvh, "contours": contour_metrics}

    def add(kind, form, rule):
        monkeypatch.setitem(metric_names.FORMS, kind, form)
        monkeypatch.setitem(rules[form.scope].RULES, kind, rule)

    yield add
    metric_names.parse.cache_clear()


def test_a_metric_of_each_scope_is_two_rows(add_metric, write_as):
    add_metric(
        "volume_difference",
        metric_names.Form("contours", "volume_difference", "cc", "Volume difference"),
        lambda masks, _: (
            abs(int(masks.predicted.sum()) - int(masks.reference.sum()))
            * masks.grid.voxel_mm3
            / 1000
        ),
    )
    add_metric(
        "D_range",
        metric_names.Form("dvh", "D_range", "Gy"),
        lambda doses, _: float(doses.ordered[-1] - doses.ordered[0]),
    )
    add_metric(
        "dose_max_error",
        metric_names.Form("patient", "dose_max_error", "Gy"),
        lambda doses, _: dose_metrics.Result(float(doses.absolute_gy.max())),
    )
    config = openkbp.get_config()
    config.evaluate.metrics = str(
        write_as("metrics.toml")(
            """
            patient = ["dose_max_error"]
            [dvh]
            Brainstem = ["exact:D_range"]
            [contours]
            Brainstem = ["volume_difference"]
            """
        )
    )
    prediction = volumes.Prediction(
        GRID, DOSE_GY * 2, mask(0, 1, 2)[None].astype(np.float16), ("Brainstem",)
    )
    rows = rows_of(config, {"Brainstem": mask(0, 1)}, prediction)
    # 3 voxels of 0.2 cc are drawn, 2 are there.
    found = rows["Brainstem", "volume_difference"]
    assert (found.unit, found.value) == ("cc", pytest.approx(0.2))
    # 20 - 10 Gy in the reference, 40 - 20 in the prediction.
    found = rows["Brainstem", "exact:D_range"]
    assert (found.reference, found.prediction, found.value) == (10, 20, 10)
    assert rows["", "dose_max_error"].value == 40  # 80 - 40 Gy
    summary = scoring.summarise(list(rows.values()), sites.OPENKBP)
    assert summary["metrics"]["volume_difference/Brainstem"]["n"] == 1


def test_every_name_has_a_rule_and_every_rule_a_name():
    rules = {**dose_metrics.RULES, **dvh.RULES, **contour_metrics.RULES}
    rules |= target_coverage.RULES
    assert set(rules) == set(metric_names.FORMS)


def test_a_role_with_a_known_input_is_one_row(monkeypatch):
    role = roles.Role("told", None, "reference", ("contours", "dose"), "hps")
    monkeypatch.setitem(roles.ROLES, role.name, role)
    config = configs.check(openkbp.get_config("told"))
    statistics = {"ct_mean": 0.0, "ct_std": 1.0}
    assert wiring.make_preprocess(config, statistics).channels == 1 + 4
    with pytest.raises(errors.ConfigError, match="did you mean 'told'"):
        roles.get("tald")


def test_a_role_with_a_new_input_is_two_more_rows(monkeypatch):
    """One channel that is 1 in any target."""
    given = roles.Input(
        "targets",
        in_tables="CT, targets",
        in_words="targets that a person drew",
        masks="masks",
        shows_targets=True,
        needs_rtstruct=True,
    )

    def values(bits: mask_bits.MaskBits) -> np.ndarray:
        patterns = np.arange(1 << mask_bits.MASK_BITS)
        targets = sum(
            1 << bit
            for bit, structure in enumerate(bits.site.structures)
            if structure.target_gy is not None
        )
        return ((patterns & targets) > 0).astype(np.float32)[:, None]

    monkeypatch.setitem(roles.INPUTS, "targets", given)
    monkeypatch.setitem(
        image_channels.CHANNELS,
        "targets",
        image_channels.Channels(values, mirrored=lambda _: np.arange(1)),
    )
    role = roles.Role("shown_targets", None, "targets", ("dose",), "single")
    monkeypatch.setitem(roles.ROLES, role.name, role)
    config = openkbp.get_config("shown_targets")
    config.data.image_size = (32, 32)
    statistics = {"ct_mean": 0.0, "ct_std": 1.0}
    pre = wiring.make_preprocess(configs.check(config), statistics)
    masks = np.zeros((32, 32), np.uint16)
    masks[0, :3] = 1 << 0, 1 << 7, 1 << 9  # Brainstem, PTV56, PTV70
    example = records.Example(
        ct=np.zeros((32, 32), np.int16),
        dose_gy=np.zeros((32, 32), np.float32),
        masks=masks,
        present=np.ones(10, bool),
        has_dose=True,
        patient="pt_1",
        slice=0,
        spacing_mm=np.array([2.5, 4.0, 4.0]),
    )
    batch = pre.empty(1)
    pre.write(batch, 0, example, 0, mask_known=True)
    assert batch["image"].shape == (1, 32, 32, 2)
    assert batch["image"][0, 0, :4, 1].tolist() == [0, 1, 1, 0]
    assert batch["image"][0, 1:, :, 1].max() == 0


def test_a_site_is_a_file(write_as):
    path = write_as("breast.yaml")(
        """
        name: breast
        prescription_gy: 40.0
        contoured: [Heart]
        structures:
          Heart: {dvh: ["exact:D_mean"]}
          PTV: {target_gy: 40.0, dvh: ["exact:D_min"]}
        """
    )
    config = prostate.get_config("multi")
    config.site, config.data.structures = str(path), ("Heart",)
    config.data.prescription_gy = 40.0
    prediction = volumes.Prediction(
        GRID, DOSE_GY + 2, mask(0, 1)[None].astype(np.float16), ("Heart",)
    )
    structures = {"Heart": mask(0, 1), "PTV": mask(3)}
    rows = rows_of(config, structures, prediction)
    assert rows["Heart", "exact:D_mean"].reference == 15
    assert rows["PTV", "exact:D_min"].value == 2
    assert rows["Heart", "dice"].value == 1


def test_a_site_is_a_row(monkeypatch):
    pelvis = dataclasses.replace(sites.PROSTATE, name="pelvis")
    monkeypatch.setitem(sites.SITES, pelvis.name, pelvis)
    config = prostate.get_config("baseline")
    config.site = "pelvis"
    assert sites.get(configs.check(config).site) is pelvis
    assert sites.from_json(sites.to_json(pelvis)) is pelvis
