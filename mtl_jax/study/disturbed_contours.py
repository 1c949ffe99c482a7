"""How the predicted dose changes when the input contours are disturbed.

    python -m mtl_jax.study.disturbed_contours --config=FILE:seq_human [--workdir=...]

Input: a trained run whose network is given contours. Output: a table in its folder
`disturbed/<split>`, and all rows beside it. The dose is always scored in the reference
contours.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from absl import flags as absl_flags
from scipy import ndimage

from mtl_jax.core import errors, records, roles, sites
from mtl_jax.datasets import prepared
from mtl_jax.evaluation import scoring
from mtl_jax.metrics import paired_tests
from mtl_jax.report import render
from mtl_jax.run import command, flags, input_contours, predictions, wiring
from mtl_jax.study.tables import measures, score_tables

SPLIT = absl_flags.DEFINE_enum(
    "split", "test", records.SPLITS, "split whose patients are predicted"
)
AS_DRAWN = "as they are"

# A mask [Y, X] bool of one structure, and a changed one.
Change = Callable[[np.ndarray], np.ndarray]


def _moved(rows: int, columns: int) -> Change:
    def move(mask: np.ndarray) -> np.ndarray:
        return ndimage.shift(mask, (rows, columns), order=0, cval=0)

    return move


# In plane and on the CT's own voxels; y grows to the patient's back, x to the left.
CHANGES: Mapping[str, Change] = {
    "one voxel to the patient's left": _moved(0, 1),
    "one voxel to the patient's right": _moved(0, -1),
    "one voxel to the back": _moved(1, 0),
    "one voxel to the front": _moved(-1, 0),
    "eroded by one voxel": ndimage.binary_erosion,
    "dilated by one voxel": ndimage.binary_dilation,
}
WRONG_SIDE = "left and right organs exchanged"


@dataclasses.dataclass(frozen=True)
class Disturbed:
    """The slices of a split, with disturbed contours for the network."""

    source: prepared.Source
    site: sites.Site
    key: str  # of the record's field that the network is given
    name: str  # of the disturbance

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> records.Example:
        example = self.source[index].copy()
        bits = example[self.key]
        example[self.key] = disturb(bits, self.site, self.name)
        return example


def disturb(bits: np.ndarray, site: sites.Site, name: str) -> np.ndarray:
    """The masks of a slice, uint16 [Y, X], with each structure of `site` changed.

    Other bits, such as that of the possible dose, stay.
    """
    count = len(site.names)
    changed = bits & ~np.uint16((1 << count) - 1)
    for number, structure in enumerate(site.structures):
        mask = (bits >> number & 1).astype(bool)
        if name == WRONG_SIDE:
            number = site.names.index(structure.mirror or structure.name)
        else:
            mask = CHANGES[name](mask)
        changed |= mask.astype(np.uint16) << np.uint16(number)
    return changed


def run() -> int:
    """Predict with each disturbance and write the table; returns the exit status."""
    config = command.config()
    role = roles.get(config.role)
    if role.input.masks is None:
        raise errors.ConfigError(
            f"role {role.name} is given no contours; give one that is, such as "
            "seq_human"
        )
    home = command.workdir()
    data = command.prepare(config)
    trained = wiring.Run(config, data, home, input_contours.prepare(config, data, home))
    methods = [
        measures.Method.of(name, name, [rows])
        for name, rows in _scored(trained, SPLIT.value)
    ]
    folder = home / "disturbed" / SPLIT.value
    made = table(methods, trained.site, SPLIT.value, seed=config.seed)
    render.write_all([made], folder)
    print(render.markdown(made))
    print(f"table: {folder / made.name}.md")
    return 0


def _scored(trained: wiring.Run, split: str) -> Iterator[tuple[str, list[scoring.Row]]]:
    """The evaluation rows of each disturbance, the undisturbed contours first."""
    rules = scoring.Rules.of(trained.config)
    patients = trained.split(split)
    for name in (AS_DRAWN, *CHANGES, WRONG_SIDE):
        seen = trained if name == AS_DRAWN else _disturbed(trained, split, name)
        rows: list[scoring.Row] = []
        for index, prediction in predictions.predict_split(seen, split):
            rows += scoring.score(patients.volume(index), prediction, rules)
        scoring.write_csv(rows, _rows_path(trained.workdir, split, name))
        yield name, rows


def _rows_path(home: Path, split: str, name: str) -> Path:
    return home / "disturbed" / split / f"{name.replace(' ', '-')}.csv"


def _disturbed(trained: wiring.Run, name: str, how: str) -> wiring.Run:
    """The same run on a data set whose split `name` has disturbed contours."""
    key = trained.role.input.masks
    assert key is not None
    split = trained.split(name)
    source = Disturbed(split.source, split.site, key, how)
    changed = {name: dataclasses.replace(split, source=source)}
    data = dataclasses.replace(trained.data, splits=trained.data.splits | changed)
    return dataclasses.replace(trained, data=data)


def table(
    methods: list[measures.Method], site: sites.Site, split: str, *, seed: int
) -> render.Table:
    """Errors with each disturbance, and how much they are above the undisturbed."""
    drawn = methods[0]
    keys = [measures.Key(*row) for row in site.dose_table]
    keys = [key for key in keys if drawn.unit(key) == "Gy"]
    rows = []
    for method in methods:
        cells = [render.Cell(method.label)]
        for chosen in ([score_tables.DOSE], keys):
            error = method.mean_error(chosen)
            cells.append(render.Cell(error.mean, error.spread))
            if method is drawn:
                cells += [render.Cell("")] * 3
                continue
            found = paired_tests.compare(
                drawn.mean_error(chosen).by_patient,
                error.by_patient,
                rng=np.random.default_rng(seed),
            )
            values = (found.mean_difference, *found.interval)
            cells += [render.Cell(value) for value in values]
        rows.append(tuple(cells))
    columns = [render.Column("contours")]
    for title in ("dose error, Gy", "DVH error, Gy"):
        columns += [
            render.Column(title),
            render.Column("more", title),
            render.Column("low", f"{title}: 95 % interval"),
            render.Column("high", f"{title}: 95 % interval"),
        ]
    return render.Table(
        name="disturbed_contours",
        title="The dose error with disturbed input contours (not in the paper)",
        caption=(
            f"{drawn.measure(score_tables.DOSE).n} patients of the {split} split. Only "
            "the contours that the network is given are changed, slice by slice; the "
            "dose is scored in the reference contours.",
            "Dose error: of the whole patient. DVH error: the mean of the rows in Gy "
            "of the site's table of DVH metrics. ± is the standard "
            "deviation over the patients. More: the mean difference to the first row, "
            "with its bootstrap interval over the patients.",
        ),
        columns=tuple(columns),
        rows=tuple(rows),
    )


if __name__ == "__main__":
    flags.parse_or_help(
        sys.argv[1:],
        "disturbed_contours",
        "mtl_jax.study.disturbed_contours",
        "How the predicted dose changes when the input contours are disturbed.",
        "--config=openkbp:seq_human",
        {"the patients": (SPLIT,)},
    )
    command.start(run)
