"""A thousand identifiers in forty forms, and none of them comes out anywhere."""

import csv
import json
import logging

import numpy as np
import pytest

from mtl_jax.cohort import __main__ as cohort
from mtl_jax.datasets import prepared
from mtl_jax.predict import __main__ as predict
from mtl_jax.run import model_card, wiring, workdir
from mtl_jax.sources.dicom import deidentification
from mtl_jax.train import checkpoint
from tests.predict import checkpoints
from tests.sources import identifying
from tfds_builders.prostate import __main__ as build

# 20 organs of which most have sides, 16 with a margin or a part, targets with doses.
SIDED = """Parotid Submandibular Lung Kidney Femur Eye Lens OpticNrv Cochlea Lacrimal
Breast Femoral_Head Hippocampus Lobe_Temporal Humerus Hip Carotid Orbit Cornea Retina"""
SINGLE = """Brain Brainstem SpinalCord Chiasm Pituitary Mandible Larynx Esophagus
Trachea Heart Liver Spleen Stomach Duodenum Pancreas Bowel Colon_Sigmoid Bladder Rectum
Prostate SeminalVes PenileBulb Uterus Cervix Vagina Sacrum Skin External Couch Bolus"""
FORMS = ("{}", "{}_PRV05", "PRV {}", "{} opt", "z_{}", "{}-PTV", "ring {}")
DOSES = ("5040", "54 Gy", "60.0", "70", "6996", "45_28fx")


def ordinary() -> list[str]:
    """Names of ROIs as clinics have them."""
    organs = [f"{name}{side}" for name in SIDED.split() for side in ("_L", "_R")]
    names = [f.format(name) for name in SINGLE.split() for f in FORMS]
    names += [f.format(name) for name in organs for f in FORMS[:2]]
    names += [f"{t}_{dose}" for t in ("PTV", "CTV", "GTV") for dose in DOSES]
    names += ["CTV 60/54", "PTV_60/54/50", "PTV1", "ptv 2", "GTVn", "CTV_High", "66"]
    names += ["Lt Femur", "Femoral Head Rig", "Rectal wall", "Opt Nerve L", "50% iso"]
    assert len(set(names) - {"Bladder", "Rectum", "Prostate", "External"}) >= 300
    return list(dict.fromkeys(names))


# Those that the structures of the site do not have already.
NAMES = [
    n for n in ordinary() if n not in ("Bladder", "Rectum", "Prostate", "External")
]


def saved_run(home, data):
    """A checkpoint and a model card of a run on `data`, as a run writes them."""
    changes = {"data.source": "manual", "train.batch_size": 2, "train.devices": 1}
    config = checkpoints.configure("multi", "prostate", changes)
    run = wiring.Run(config, data, home)
    with checkpoint.Checkpoints(home / "checkpoints", None) as saved:
        made = checkpoints.weights(config, 1)
        moments = {"mu": made["params"]}
        state = checkpoints.State(np.array(1, np.int32), **made, moments=moments)
        saved.save(1, state, run.checkpoint_item, None)
        saved.wait()
    workdir.create_or_check(home, config, data.fingerprint)
    model_card.write(run)
    return home


def test_nothing_of_a_thousand_identifiers_comes_out(tmp_path, caplog, capfd):
    assert len(identifying.FORMS) == 40
    folder = tmp_path / "clinic" / "manual"
    secrets = identifying.write(folder, NAMES)
    assert len(set(secrets)) >= 1000
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "matplotlib")
    caplog.set_level(logging.INFO, "PIL")
    out, data_dir = tmp_path / "report", tmp_path / "data"
    common = [str(folder), "--workers=1"]
    assert cohort.main([*common, "--survey"]) == 0
    printed = [*capfd.readouterr()]
    survey = printed[0]
    assert cohort.main([*common, f"--out={out}"]) == 0
    flags = [f"--manual_dir={folder}", f"--data_dir={data_dir}", "--workers=1"]
    assert build.main(flags) == 0
    data = prepared.open_directory(next(data_dir.rglob("1.0.0")))
    home = saved_run(tmp_path / "run", data)
    flags = [f"--checkpoint={home}", f"--out={tmp_path / 'predicted'}"]
    assert predict.main([*flags, str(folder), "--reference=auto"]) == 1  # two refused
    for path in (tmp_path / "predicted").rglob("*.dcm"):
        path.unlink()  # they are of the patient, and say so
    printed += [*capfd.readouterr(), caplog.text]
    predicted = [*(tmp_path / "predicted").rglob("statistics.json")]
    assert len(predicted) == 3
    written = identifying.read(out, data_dir, home, tmp_path / "predicted", *printed)
    assert not identifying.leaks(secrets, *written)
    # The search finds them where they are.
    found = identifying.leaks(secrets, *identifying.read(folder))
    assert len(found) > 1000  # some forms differ in case and composition alone
    # Names of ROIs that tell nothing can still be read.
    with (out / "names.csv").open(newline="", encoding="utf-8") as file:
        listed = {row["name"] for row in csv.DictReader(file)}
    assert [name for name in NAMES if name not in listed] == []
    assert [name for name in NAMES if json.dumps(name) not in survey] == []
    assert "is cut off" in written[0]


@pytest.mark.parametrize("name", NAMES)
def test_an_ordinary_name_is_ordinary_in_all_files_too(name):
    """Also where a station, a hospital and a file have the same words."""
    made = deidentification.Identifiers("Patient 12 Head and Neck")
    for path in ("CT_Head.dcm", "RS left lung.dcm", "PTV boost 5040.dcm", "plan.zip"):
        made.add_path(path)
    made.add_element("StationName", "CT01")
    made.add_element("InstitutionName", "Head and Neck Hospital")
    made.add_element("OperatorsName", "RT")
    assert made.hide(name) == name
