"""Time to score one 128^3 patient on one core, compared with NumPy, SciPy, SimpleITK.

    python -m benchmarks.metrics [--manual_dir=DIR] [--rounds=15]

Input: the OpenKBP patient with the most structures (all ten in the challenge's data),
or a phantom. The prediction is a blurred dose with shifted, ragged contours. Output: a
Markdown table of medians. All methods start from the same arrays, conversions count,
and the benchmark fails if two compared methods disagree. The methods take turns, and
processor time is measured, so that the ratios are valid on a busy machine.
"""

import argparse
import dataclasses
import functools
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import tqdm
from scipy import ndimage

from mtl_jax.core import anatomy, records, reported_metrics, sites
from mtl_jax.metrics import contour_metrics, dose_metrics, surface
from mtl_jax.sources.openkbp import provided_data
from mtl_jax.sources.phantom import head_and_neck

SITE = sites.OPENKBP
# The DVH metrics of the challenge's score, and its dose score.
OFFICIAL = reported_metrics.Template(
    patient=("dose_error",),
    dvh={
        s.name: sites.OPENKBP_OAR_DVH
        if s.target_gy is None
        else sites.OPENKBP_TARGET_DVH
        for s in SITE.structures
    },
    contours={},
    dose_table={},
)
MEAN = "openkbp:D_mean"
PERCENTILES = {"openkbp:D_99": 1, "openkbp:D_95": 5, "openkbp:D_1": 99}


@dataclasses.dataclass(frozen=True)
class Case:
    """A patient and a prediction."""

    patient: records.Patient
    reference_gy: np.ndarray
    predicted_gy: np.ndarray
    predicted_contours: dict[str, np.ndarray]  # masks by structure


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.metrics", description="Time to score one patient."
    )
    parser.add_argument(
        "--manual_dir", type=Path, help="folder of the raw patients; default: a phantom"
    )
    parser.add_argument(
        "--rounds", type=int, default=15, help="rounds of each method (15)"
    )
    flags = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    case = make_case(find_patient(flags.manual_dir))
    names = ", ".join(f"{k} {m.sum()}" for k, m in case.patient.structures.items())
    print(
        f"Patient {case.patient.patient_id} {case.patient.grid.shape}, voxels of "
        f"{names}; {flags.rounds} rounds on one core; NumPy {np.__version__}, "
        f"SimpleITK {sitk.__version__}, Python {platform.python_version()}\n"
    )
    print(table(measure(case, flags.rounds)))


def find_patient(manual_dir: Path | None) -> records.Patient:
    """The first patient with the most structures."""
    if manual_dir is None:
        return fullest(head_and_neck.make_patient(0, index) for index in range(20))
    with provided_data.open_source(manual_dir) as source:
        candidates = [
            (len(source.contoured(split, patient)), split, patient)
            for split in ("test", "validation", "train")
            for patient in source.patients[split]
        ]
        _, split, patient = max(candidates, key=lambda entry: entry[0])
        return source.read(split, patient)


def fullest(patients: Iterable[records.Patient]) -> records.Patient:
    """The patient with the most structures; stops at the first one that has all."""
    best = None
    for patient in patients:
        if best is None or len(patient.structures) > len(best.structures):
            best = patient
        if len(best.structures) == len(SITE.structures):
            break
    assert best is not None
    return best


def make_case(patient: records.Patient, dtype: type = np.float32) -> Case:
    """A prediction whose errors resemble those of a network."""
    assert patient.dose_gy is not None
    rng = np.random.default_rng(0)
    ragged = (
        ndimage.gaussian_filter(rng.standard_normal(patient.grid.shape), 1.0) > -0.2
    )
    contours = {
        name: np.roll(patient.structures[name] & ragged, (1, 1, -1), (0, 1, 2))
        for name in SITE.contoured
        if name in patient.structures
    }
    blurred = ndimage.gaussian_filter(patient.dose_gy, 2.0)
    return Case(patient, patient.dose_gy.astype(dtype), blurred.astype(dtype), contours)


def plain_scores(case: Case, *, once: bool = False) -> list[float]:
    """Dose error and DVH errors in Gy with NumPy, structure by structure.

    `once` selects the dose of a structure once and computes its percentiles in one
    call; otherwise both are repeated for each metric.
    """
    patient, doses = case.patient, (case.reference_gy, case.predicted_gy)
    possible = patient.possible_dose_mask
    assert possible is not None
    total = np.sum(np.abs(doses[0] - doses[1]), dtype=np.float64)
    errors = [float(total / np.sum(possible))]
    tenth_of_cc = max(1.0, np.round(100 / patient.grid.voxel_mm3))
    for structure, metrics in OFFICIAL.dvh.items():
        if structure not in patient.structures:
            continue
        mask = patient.structures[structure]
        share = tenth_of_cc / np.count_nonzero(mask)
        for group in [metrics] if once else [(metric,) for metric in metrics]:
            ps = [PERCENTILES.get(m, 100 - share * 100) for m in group if m != MEAN]
            values: list[list[float]] = []
            for dose_gy in doses:
                inside = dose_gy[mask]
                row = np.percentile(inside, ps).tolist() if ps else []
                if MEAN in group:
                    row.append(float(np.mean(inside, dtype=np.float64)))
                values.append(row)
            errors += [abs(a - b) for a, b in zip(*values, strict=True)]
    return errors


def our_scores(case: Case) -> list[float]:
    """The errors of `plain_scores`, from metrics/dose_metrics."""
    values = dose_metrics.score(
        case.reference_gy, case.predicted_gy, case.patient, SITE, OFFICIAL
    )
    return [value.error for value in values if not np.isnan(value.error)]


def our_distances(case: Case) -> list[float]:
    """Dice, HD100 and HD95 (mm) of each structure, from metrics/surface."""
    values = []
    for name, predicted in case.predicted_contours.items():
        reference = case.patient.structures[name]
        result = surface.compare(predicted, reference, case.patient.grid.spacing_mm)
        values += [result.dice, result.hd100, result.hd95]
    return values


def distances_by_simpleitk(case: Case) -> list[float]:
    """The values of `our_distances`, from filters and distance maps of SimpleITK."""
    values = []
    for name, predicted in case.predicted_contours.items():
        images = []
        for mask in (predicted, case.patient.structures[name]):
            image = sitk.GetImageFromArray(mask.astype(np.uint8))
            image.SetSpacing(case.patient.grid.spacing_mm[::-1])
            images.append(image)
        overlap = sitk.LabelOverlapMeasuresImageFilter()
        overlap.Execute(*images)
        hausdorff = sitk.HausdorffDistanceImageFilter()
        hausdorff.Execute(*images)
        borders = [sitk.LabelContour(image) for image in images]
        maps = [
            sitk.GetArrayFromImage(
                sitk.SignedMaurerDistanceMap(
                    border, squaredDistance=False, useImageSpacing=True
                )
            )
            for border in borders
        ]
        inside = [sitk.GetArrayFromImage(border) > 0 for border in borders]
        hd95 = max(
            # Distances inside a thick border are negative.
            float(np.percentile(np.maximum(maps[1][inside[0]], 0), 95)),
            float(np.percentile(np.maximum(maps[0][inside[1]], 0), 95)),
        )
        values += [
            overlap.GetDiceCoefficient(), hausdorff.GetHausdorffDistance(), hd95
        ]  # fmt: skip
    return values


def distances_by_scipy(case: Case) -> list[float]:
    """The values of `our_distances`, from SciPy's transforms of whole volumes."""
    values = []
    for name, predicted in case.predicted_contours.items():
        masks = (predicted, case.patient.structures[name])
        borders = [mask & ~ndimage.binary_erosion(mask) for mask in masks]
        maps = [
            ndimage.distance_transform_edt(~border, case.patient.grid.spacing_mm)
            for border in borders
        ]
        directed = [maps[1][borders[0]], maps[0][borders[1]]]
        both = 2 * np.sum(masks[0] & masks[1]) / (np.sum(masks[0]) + np.sum(masks[1]))
        values += [
            float(both),
            float(max(side.max() for side in directed)),
            float(max(np.percentile(side, 95) for side in directed)),
        ]
    return values


def gammas(case: Case) -> list[float]:
    """The pass rates that are reported."""
    template = dataclasses.replace(OFFICIAL, patient=anatomy.GAMMA_METRICS, dvh={})
    values = dose_metrics.score(
        case.reference_gy, case.predicted_gy, case.patient, SITE, template
    )
    return [value.prediction for value in values]


def everything(case: Case) -> list[float]:
    """All metrics that the site reports: dose, DVH in both dialects, contours."""
    template = reported_metrics.default(SITE)
    patient = case.patient
    values = dose_metrics.score(
        case.reference_gy, case.predicted_gy, patient, SITE, template
    )
    for name, predicted in case.predicted_contours.items():
        values += contour_metrics.score(
            name,
            predicted,
            patient.structures[name],
            patient.grid,
            template.contours[name],
        )
    return [value.error for value in values]


def measure(case: Case, rounds: int) -> list[tuple[str, list[float], str]]:
    """Name, milliseconds of each round, and the name of the method to compare with."""
    wide = dataclasses.replace(
        case,
        reference_gy=case.reference_gy.astype(np.float64),
        predicted_gy=case.predicted_gy.astype(np.float64),
    )
    agree(our_scores(wide), plain_scores(wide), 1e-9)
    agree(our_scores(case), plain_scores(case), 1e-4)  # NumPy computes in float32
    agree(our_scores(case), our_scores(wide), 1e-9)
    distances = our_distances(case)
    agree(distances, distances_by_scipy(case), 1e-9)
    agree(
        distances, distances_by_simpleitk(case), 1e-4
    )  # the maps of SimpleITK are float32
    agree(plain_scores(wide, once=True), plain_scores(wide), 1e-9)
    once = functools.partial(plain_scores, once=True)
    methods: list[tuple[str, Callable[[Case], list[float]], Case, str]] = []
    for dtype, doses in (("float32", case), ("float64", wide)):
        plain = f"official scores, {dtype}: np.percentile(dose[mask])"
        methods += [
            (plain, plain_scores, doses, ""),
            (f"{plain}, mask applied once", once, doses, plain),
            (
                f"official scores, {dtype}: metrics.dose_metrics",
                our_scores,
                doses,
                plain,
            ),
        ]
    simpleitk = "Dice, HD100, HD95: SimpleITK"
    methods += [
        (simpleitk, distances_by_simpleitk, case, ""),
        ("Dice, HD100, HD95: SciPy's transforms", distances_by_scipy, case, simpleitk),
        ("Dice, HD100, HD95: metrics.surface", our_distances, case, simpleitk),
        ("gamma, 2 % / 2 mm and 3 % / 3 mm, global and local", gammas, case, ""),
        ("all that is reported", everything, case, ""),
    ]
    seconds: dict[str, list[float]] = {name: [] for name, *_ in methods}
    for _ in tqdm.trange(rounds, desc="rounds"):
        for name, method, argument, _ in methods:
            start = time.process_time()
            method(argument)
            seconds[name].append(1e3 * (time.process_time() - start))
    return [(name, seconds[name], other) for name, _, _, other in methods]


def agree(values: list[float], expected: list[float], tolerance: float) -> None:
    """AssertionError unless both lists hold the same numbers, within `tolerance`."""
    np.testing.assert_allclose(values, expected, rtol=0, atol=tolerance)


def table(measured: list[tuple[str, list[float], str]]) -> str:
    """Medians and ranges in Markdown, and the median ratio of consecutive rounds."""
    lines = ["| | median, ms | least - most | times faster |", "|---|---|---|---|"]
    by_name = {name: values for name, values, _ in measured}
    for name, values, other in measured:
        ratio = ""
        if other:
            pairs = zip(by_name[other], values, strict=True)
            ratio = f"{statistics.median(a / b for a, b in pairs):.1f}"
        middle = statistics.median(values)
        spread = f"{min(values):.1f} - {max(values):.1f}"
        lines.append(f"| {name} | {middle:.1f} | {spread} | {ratio} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
