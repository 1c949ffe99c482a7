"""The folders of the package: what each holds, and what it may import.

`tests/test_architecture.py` checks the code against this table. This command writes
it into CONTRIBUTING.md as a map:

    python -m docs.architecture
"""

import dataclasses
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
BEGIN = "<!-- map: written by python -m docs.architecture -->"
END = "<!-- end of the map -->"


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder: its dotted name, the folders of `mtl_jax` it may import, its job.

    `job` says what goes in and what comes out; `parts` does so for each subfolder.
    """

    name: str
    imports: tuple[str, ...]
    job: str
    parts: dict[str, str] = dataclasses.field(default_factory=dict)


NUMERICS = ("models", "losses", "train")
# All that one run is made of, in the order in which data flow.
ONE_RUN = ("core", "sources", "datasets", "pipeline", *NUMERICS, "inference", "metrics")
ONE_RUN += ("export", "evaluation", "figures", "report", "zoo")

# Data flow down this table: a folder imports itself and folders above it, nothing else.
FOLDERS = (
    Folder(
        "mtl_jax.core",
        (),
        "sites, roles, grids, records, errors, the check of a configuration; NumPy and "
        "SciPy only",
    ),
    Folder(
        "mtl_jax.sources",
        ("core",),
        "raw files, or a seed → `Patient` records",
        {
            "openkbp": "the OpenKBP challenge's CSV files",
            "dicom": "one patient's CT, RTSTRUCT and RTDOSE",
            "clinical": "a folder of DICOM patients: pseudonyms, splits",
            "nifti": "NIfTI images; data sets in the layouts of nnU-Net and MONAI",
            "phantom": "generated patients, as records or as files",
        },
    ),
    Folder(
        "mtl_jax.datasets",
        ("core", "sources"),
        "`Patient` → stored examples → `Patient`; splits",
    ),
    Folder(
        "mtl_jax.pipeline",
        ("core", "datasets"),
        "stored examples → batches: normalised, resampled, shuffled, augmented",
    ),
    Folder(
        "mtl_jax.models",
        ("core",),
        "image → contours and dose: the networks; pretrained weights",
        {"fast": "faster forms of the networks' operations, with equal results"},
    ),
    Folder(
        "mtl_jax.losses",
        ("core",),
        "outputs and batch → loss of each task, and the tasks' weights",
    ),
    Folder(
        "mtl_jax.train",
        ("core", "models", "losses"),
        "batches → checkpoints and metrics: state, step, devices, loop",
    ),
    Folder(
        "mtl_jax.inference",
        ("core", "pipeline.preprocess"),
        "predicted slices → volumes in Gy and masks, on the CT's own grid",
    ),
    Folder(
        "mtl_jax.metrics",
        ("core",),
        "volumes → DVH metrics, Dice, Hausdorff distances, tests; NumPy and SciPy",
    ),
    Folder(
        "mtl_jax.export",
        ("core",),
        "volumes → RTSTRUCT, RTDOSE, NIfTI, OpenKBP's CSV",
    ),
    Folder(
        "mtl_jax.evaluation",
        ("core", "datasets", "inference", "metrics"),
        "predicted volumes → scores of a split, beside yardsticks",
    ),
    Folder(
        "mtl_jax.figures",
        ("core",),
        "volumes and rows → pictures of predictions, DVHs, training curves (PNG)",
    ),
    Folder(
        "mtl_jax.report",
        ("core", "figures"),
        "tables and volumes → Markdown, CSV, LaTeX, one HTML file",
    ),
    Folder(
        "mtl_jax.zoo",
        ("core", "models", "evaluation"),
        "networks that come with the package → variables, and what they are",
    ),
    Folder(
        "mtl_jax.run",
        ONE_RUN,
        "configuration → one run: trained, resumed, evaluated; its working directory "
        "and model card",
    ),
    Folder(
        "mtl_jax.study",
        (*ONE_RUN, "run"),
        "runs → the paper's comparison (command)",
        {"tables": "evaluation rows → tables and significance tests"},
    ),
    Folder(
        "mtl_jax.predict",
        (*ONE_RUN, "run"),
        "checkpoint and CTs → files that other software opens (command)",
    ),
    Folder(
        "mtl_jax.node",
        (*ONE_RUN, "run", "predict"),
        "CTs that arrive over the network → predictions sent back (command)",
    ),
    Folder(
        "mtl_jax.interface",
        (*ONE_RUN, "run", "predict"),
        "what `import mtl_jax` gives: predict arrays, evaluate, open data sets, train",
    ),
    Folder(
        "mtl_jax.pack",
        ("core", "evaluation", "run", "zoo"),
        "a trained run → a network that comes with the package (command)",
    ),
    Folder(
        "mtl_jax.portable",
        ("core", "pipeline", "models", "train", "zoo", "run"),
        "a trained network → a program that runs without this package (command)",
    ),
    Folder(
        "mtl_jax.cohort",
        ("core", "sources", "datasets", "figures", "report"),
        "a folder of DICOM patients → a report of what it holds (command)",
    ),
    Folder(
        "mtl_jax.doctor",
        ("core", "models", "train", "zoo", "run"),
        "a machine and an installation → what is there, and what to do (command)",
    ),
    Folder(
        "tfds_builders",
        ("core", "sources", "datasets.examples", "datasets.splits"),
        "raw files → TFDS data sets (commands); one folder a builder",
    ),
    Folder("configs", (), "every value of a run: `mtl_jax.configs`; loads without JAX"),
)

# Flags and wiring: main.py, and `__main__` of each command's folder. They may import
# everything, and nothing imports them.
MAIN = "mtl_jax.main"
ENTRY_POINTS = (
    MAIN,
    *(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for top in ("mtl_jax", "tfds_builders")
        for path in sorted((ROOT / top).rglob("__main__.py"))
    ),
)

# Modules that may import a heavy library.
JAX = tuple(f"mtl_jax.{folder}" for folder in NUMERICS)
DOORS = {
    "jax": (*JAX, "mtl_jax.run", "mtl_jax.doctor", "mtl_jax.portable", *ENTRY_POINTS),
    "jaxlib": JAX,
    "flax": JAX,
    "optax": JAX,
    "tensorflow_datasets": ("mtl_jax.datasets", "tfds_builders"),
    "array_record": ("mtl_jax.datasets",),
    "apache_beam": ("tfds_builders.beam",),
    "grain": ("mtl_jax.pipeline.batches",),
    "orbax": ("mtl_jax.train.checkpoint",),
    "clu.metric_writers": ("mtl_jax.train.writers",),
    "clu.periodic_actions": ("mtl_jax.train.writers",),
    "tensorboardX": ("mtl_jax.train.writers",),
    "matplotlib": ("mtl_jax.figures",),
    "nibabel": ("mtl_jax.sources.nifti", "mtl_jax.export"),
    "pydicom": ("mtl_jax.sources", "mtl_jax.export", "mtl_jax.node.arrivals"),
    "pynetdicom": ("mtl_jax.node",),
    "prometheus_client": ("mtl_jax.node.measurements",),
    "tensorflow": (),
    "torch": (),
}


def show_path(name: str) -> str:
    """A dotted name as a path: `mtl_jax.train.writers` as `train/writers`."""
    return f"`{name.removeprefix('mtl_jax.').replace('.', '/')}`"


def show_imports(folder: Folder) -> str:
    """The folders that `folder` may import; long lists by what they leave out."""
    if len(folder.imports) < 8:
        return ", ".join(show_path(name) for name in folder.imports) or "nothing"
    names = [f.name.removeprefix("mtl_jax.") for f in FOLDERS]
    above = names[: names.index(folder.name.removeprefix("mtl_jax."))]
    left_out = [show_path(name) for name in above if name not in folder.imports]
    return "all above" + (f" but {', '.join(left_out)}" if left_out else "")


def show_doors(doors: tuple[str, ...]) -> str:
    """The modules that may import a library; all entry points under one word."""
    names = [show_path(door) for door in doors if door not in ENTRY_POINTS]
    if MAIN in doors:
        names.append("entry points")
    return ", ".join(names) or "no module"


def folder_map() -> str:
    """The folders and the doors of heavy libraries, as two Markdown tables."""
    lines = ["| folder | what goes in → what comes out | may import |", "|---|---|---|"]
    for folder in FOLDERS:
        path = show_path(folder.name)
        lines.append(f"| {path} | {folder.job} | {show_imports(folder)} |")
        for part, job in folder.parts.items():
            lines.append(f"| {path[:-1]}/{part}` | {job} | |")
    lines.append("| `main.py` | flags and wiring of one run (command) | everything |")
    lines.append("| `__main__.py` | all commands, as `mtl-jax VERB` | everything |")
    lines += ["", "| library | imported only by |", "|---|---|"]
    by_doors: dict[str, list[str]] = {}
    for library, doors in DOORS.items():
        by_doors.setdefault(show_doors(doors), []).append(f"`{library}`")
    lines += [f"| {', '.join(names)} | {doors} |" for doors, names in by_doors.items()]
    return "\n".join(lines)


def contributing() -> str:
    """CONTRIBUTING.md with the map as this table says it."""
    before, rest = CONTRIBUTING.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{folder_map()}\n{END}{after}"


if __name__ == "__main__":
    CONTRIBUTING.write_text(contributing(), encoding="utf-8")
