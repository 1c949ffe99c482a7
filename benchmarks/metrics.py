"""Time to score one 128^3 patient, beside the plain way and SimpleITK, on one core.

    python -m benchmarks.metrics [--manual_dir=DIR] [--rounds=15]

Goes in: OpenKBP patients, of which the first with most structures is taken (all ten
in the challenge's data), or a phantom. The prediction is a blurred dose, and contours
that are shifted and ragged. Comes out: a Markdown table of medians. All start from the
same dense arrays, conversions count, and what is compared gives the same numbers, or
the benchmark fails. The rounds take turns, and the time is the processor's, so that
ratios hold on a busy machine.
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

from mtl_jax.core import records, reported_metrics, sites
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
    """A patient and what was predicted of it."""

    patient: records.Patient
    reference_gy: np.ndarray
    predicted_gy: np.ndarray
    drawn: dict[str, np.ndarray]  # contours, by structure


def main() -> None:
    """Parse the flags, measure, print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.metrics", description="Time to score one patient."
    )
    parser.add_argument("--manual_dir", type=Path, help="raw patients; else a phantom")
    parser.add_argument("--rounds", type=int, default=15)
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
    """The first patient with all ten structures, or the one with most of them."""
    if manual_dir is None:
        candidates = (head_and_neck.make_patient(0, index) for index in range(20))
        return fullest(candidates)
    with provided_data.open_source(manual_dir) as source:
        found = [
            (len(source.contoured(split, patient)), split, patient)
            for split in ("test", "validation", "train")
            for patient in source.patients[split]
        ]
        _, split, patient = max(found, key=lambda entry: entry[0])
        return source.read(split, patient)


def fullest(patients: Iterable[records.Patient]) -> records.Patient:
    """The patient with most structures; looks no further than one with all."""
    best = None
    for patient in patients:
        if best is None or len(patient.structures) > len(best.structures):
            best = patient
        if len(best.structures) == len(SITE.structures):
            break
    assert best is not None
    return best


def make_case(patient: records.Patient, dtype: type = np.float32) -> Case:
    """A prediction with errors such as a network's."""
    assert patient.dose_gy is not None
    rng = np.random.default_rng(0)
    ragged = (
        ndimage.gaussian_filter(rng.standard_normal(patient.grid.shape), 1.0) > -0.2
    )
    drawn = {
        name: np.roll(patient.structures[name] & ragged, (1, 1, -1), (0, 1, 2))
        for name in SITE.contoured
        if name in patient.structures
    }
    blurred = ndimage.gaussian_filter(patient.dose_gy, 2.0)
    return Case(patient, patient.dose_gy.astype(dtype), blurred.astype(dtype), drawn)


def plain_scores(case: Case, *, once: bool = False) -> list[float]:
    """Dose error and DVH errors with NumPy, structure by structure.

    `once` takes the dose out of a structure once, and all percentiles in one call;
    else both are done for each metric.
    """
    patient, both = case.patient, (case.reference_gy, case.predicted_gy)
    possible = patient.possible_dose_mask
    assert possible is not None
    total = np.sum(np.abs(both[0] - both[1]), dtype=np.float64)
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
            for dose_gy in both:
                inside = dose_gy[mask]
                found = np.percentile(inside, ps).tolist() if ps else []
                if MEAN in group:
                    found.append(float(np.mean(inside, dtype=np.float64)))
                values.append(found)
            errors += [abs(one - other) for one, other in zip(*values, strict=True)]
    return errors


def our_scores(case: Case) -> list[float]:
    """The same from metrics/dose_metrics."""
    values = dose_metrics.score(
        case.reference_gy, case.predicted_gy, case.patient, SITE, OFFICIAL
    )
    return [value.error for value in values if not np.isnan(value.error)]


def our_distances(case: Case) -> list[float]:
    """Dice, HD100 and HD95 of each structure from metrics/surface."""
    numbers = []
    for name, drawn in case.drawn.items():
        reference = case.patient.structures[name]
        found = surface.compare(drawn, reference, case.patient.grid.spacing_mm)
        numbers += [found.dice, found.hd100, found.hd95]
    return numbers


def distances_by_simpleitk(case: Case) -> list[float]:
    """The same from SimpleITK: its two filters, and distance maps for HD95."""
    numbers = []
    for name, drawn in case.drawn.items():
        images = []
        for mask in (drawn, case.patient.structures[name]):
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
            # Negative: inside a thick border.
            float(np.percentile(np.maximum(maps[1][inside[0]], 0), 95)),
            float(np.percentile(np.maximum(maps[0][inside[1]], 0), 95)),
        )
        numbers += [
            overlap.GetDiceCoefficient(), hausdorff.GetHausdorffDistance(), hd95
        ]  # fmt: skip
    return numbers


def distances_by_scipy(case: Case) -> list[float]:
    """The same from SciPy's distance transforms of the whole volumes."""
    numbers = []
    for name, drawn in case.drawn.items():
        masks = (drawn, case.patient.structures[name])
        borders = [mask & ~ndimage.binary_erosion(mask) for mask in masks]
        maps = [
            ndimage.distance_transform_edt(~border, case.patient.grid.spacing_mm)
            for border in borders
        ]
        directed = [maps[1][borders[0]], maps[0][borders[1]]]
        both = 2 * np.sum(masks[0] & masks[1]) / (np.sum(masks[0]) + np.sum(masks[1]))
        numbers += [
            float(both),
            float(max(side.max() for side in directed)),
            float(max(np.percentile(side, 95) for side in directed)),
        ]
    return numbers


def everything(case: Case) -> list[float]:
    """All that the site reports: dose, DVH in both dialects, contours."""
    template = reported_metrics.default(SITE)
    patient = case.patient
    values = dose_metrics.score(
        case.reference_gy, case.predicted_gy, patient, SITE, template
    )
    for name, drawn in case.drawn.items():
        values += contour_metrics.score(
            name, drawn, patient.structures[name], patient.grid, template.contours[name]
        )
    return [value.error for value in values]


def measure(case: Case, rounds: int) -> list[tuple[str, list[float], str]]:
    """Name, milliseconds of each round, and name of what it is compared with."""
    wide = dataclasses.replace(
        case,
        reference_gy=case.reference_gy.astype(np.float64),
        predicted_gy=case.predicted_gy.astype(np.float64),
    )
    agree(our_scores(wide), plain_scores(wide), 1e-9)
    agree(our_scores(case), plain_scores(case), 1e-4)  # NumPy computes in float32
    agree(our_scores(case), our_scores(wide), 1e-9)
    ours, theirs = our_distances(case), distances_by_simpleitk(case)
    agree(ours, distances_by_scipy(case), 1e-9)
    agree(ours, theirs, 1e-4)  # its maps are float32
    agree(plain_scores(wide, once=True), plain_scores(wide), 1e-9)
    once = functools.partial(plain_scores, once=True)
    jobs: list[tuple[str, Callable[[Case], list[float]], Case, str]] = []
    for what, doses in (("float32", case), ("float64", wide)):
        plain = f"official scores, {what}: np.percentile(dose[mask])"
        jobs += [
            (plain, plain_scores, doses, ""),
            (f"{plain}, mask applied once", once, doses, plain),
            (f"official scores, {what}: metrics.dose", our_scores, doses, plain),
        ]
    simpleitk = "Dice, HD100, HD95: SimpleITK"
    jobs += [
        (simpleitk, distances_by_simpleitk, case, ""),
        ("Dice, HD100, HD95: SciPy's transforms", distances_by_scipy, case, simpleitk),
        ("Dice, HD100, HD95: metrics.surface", our_distances, case, simpleitk),
        ("all that is reported", everything, case, ""),
    ]
    seconds: dict[str, list[float]] = {name: [] for name, *_ in jobs}
    for _ in tqdm.trange(rounds, desc="rounds"):
        for name, job, what, _ in jobs:
            start = time.process_time()
            job(what)
            seconds[name].append(1e3 * (time.process_time() - start))
    return [(name, seconds[name], beside) for name, _, _, beside in jobs]


def agree(ours: list[float], theirs: list[float], within: float) -> None:
    """AssertionError unless both lists hold the same numbers."""
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=within)


def table(measured: list[tuple[str, list[float], str]]) -> str:
    """Markdown: median and range, and how many times faster, of rounds in turn."""
    lines = ["| | median, ms | least - most | times faster |", "|---|---|---|---|"]
    by_name = {name: values for name, values, _ in measured}
    for name, values, beside in measured:
        ratio = ""
        if beside:
            pairs = zip(by_name[beside], values, strict=True)
            ratio = f"{statistics.median(a / b for a, b in pairs):.1f}"
        middle = statistics.median(values)
        spread = f"{min(values):.1f} - {max(values):.1f}"
        lines.append(f"| {name} | {middle:.1f} | {spread} | {ratio} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
