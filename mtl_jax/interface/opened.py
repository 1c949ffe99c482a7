"""A data set in Python: its splits, and their patients one at a time.

Input: a configuration, whose data set is built if it is missing, or the folder of a
data set that was built. Output: a Dataset.

>>> import mtl_jax
>>> dataset = mtl_jax.open_dataset("openkbp")  # doctest: +SKIP
>>> dataset["test"][0].dose_gy.shape  # doctest: +SKIP
(128, 128, 128)
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mtl_jax.core import sites
from mtl_jax.datasets import prepared
from mtl_jax.interface import configured, patients
from mtl_jax.run import command, config_files


class Patients(Sequence[patients.Patient]):
    """The patients of a split; each is read when it is asked for."""

    def __init__(self, split: prepared.Split) -> None:
        self._split = split

    def __repr__(self) -> str:
        return f"<mtl_jax.Patients: {len(self)} of {self._split.name}>"

    @property
    def ids(self) -> tuple[str, ...]:
        """The patients' ids, in order; nothing is read."""
        return tuple(entry.patient_id for entry in self._split.patients)

    def __len__(self) -> int:
        return len(self._split.patients)

    def __getitem__(self, index: int) -> patients.Patient:  # type: ignore[override]
        position = range(len(self))[index]
        return patients.of_record(self._split.volume(position), self._split.site)


class Dataset(Mapping[str, Patients]):
    """A data set: the patients of each split, by its name."""

    def __init__(self, data: prepared.Prepared) -> None:
        self._data = data

    def __repr__(self) -> str:
        sizes = (f"{len(patients)} {name}" for name, patients in self.items())
        return f"<mtl_jax.Dataset of {self.site.name}: {', '.join(sizes)}>"

    @property
    def site(self) -> sites.Site:
        """The treatment site: its structures, prescription and metrics."""
        return self._data.site

    @property
    def path(self) -> Path:
        """The folder that it is in."""
        return self._data.path

    def __getitem__(self, split: str) -> Patients:
        return Patients(self._data.splits[split])

    def __iter__(self) -> Iterator[str]:
        return iter(self._data.splits)

    def __len__(self) -> int:
        return len(self._data.splits)


def open_dataset(
    source: configured.Configuration,
    *,
    data_dir: str | Path | None = None,
    manual_dir: str | Path | None = None,
) -> Dataset:
    """The data set of a configuration, built if it is missing, or that of a folder.

    Args:
        source: the name of a configuration such as `openkbp`, `prostate` or `demo`, its
            file or itself; or the folder of a data set that was built.
        data_dir: TFDS's data directory; by default $TFDS_DATA_DIR or
            ~/tensorflow_datasets.
        manual_dir: the folder of the raw patients; by default
            `<data_dir>/downloads/manual`.

    Raises:
        ConfigError: there is no such configuration.
        SourceError, DatasetError: the raw files, or what was built, cannot be used.
    """
    if _is_folder(source):
        return Dataset(prepared.open_directory(Path(str(source)).expanduser()))
    return Dataset(build(source, data_dir, manual_dir))


def build(
    source: configured.Configuration,
    data_dir: str | Path | None,
    manual_dir: str | Path | None,
) -> prepared.Prepared:
    """The data set of a configuration, built if it is missing."""
    data, manual = command.data_folders(
        data_dir and str(data_dir), manual_dir and str(manual_dir)
    )
    config = configured.read(source)
    return command.prepare_in(config, data_dir=data, manual_dir=manual)


def _is_folder(source: configured.Configuration) -> bool:
    """Whether it names a folder, and no configuration of the package."""
    if not isinstance(source, str | Path) or str(source) in config_files.names():
        return False
    return Path(source).expanduser().is_dir()
