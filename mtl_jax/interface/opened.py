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
from typing import overload

from mtl_jax.datasets import prepared
from mtl_jax.interface import configured, patients
from mtl_jax.run import command, config_files


class Patients(Sequence[patients.Patient]):
    """The patients of a split, or a part of them; each is read when it is asked for."""

    def __init__(self, split: prepared.Split, positions: range) -> None:
        self._split, self._positions = split, positions

    def __repr__(self) -> str:
        return f"<mtl_jax.Patients: {len(self)} of {self._split.name}>"

    @property
    def ids(self) -> tuple[str, ...]:
        """The patients' ids, in order; nothing is read."""
        entries = self._split.patients
        return tuple(entries[position].patient_id for position in self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> patients.Patient: ...
    @overload
    def __getitem__(self, index: slice) -> "Patients": ...
    def __getitem__(self, index: int | slice) -> "patients.Patient | Patients":
        if isinstance(index, slice):
            return Patients(self._split, self._positions[index])
        record = self._split.volume(self._positions[index])
        return patients.of_record(record, self._split.site)


class Dataset(Mapping[str, Patients]):
    """A data set: the patients of each split, by its name."""

    def __init__(self, data: prepared.Prepared) -> None:
        self._data = data

    def __repr__(self) -> str:
        sizes = (f"{len(patients)} {name}" for name, patients in self.items())
        return f"<mtl_jax.Dataset of {self.site}: {', '.join(sizes)}>"

    @property
    def site(self) -> str:
        """The treatment site."""
        return self._data.site.name

    @property
    def path(self) -> Path:
        """The folder that it is in."""
        return self._data.path

    def __getitem__(self, split: str) -> Patients:
        opened = self._data.splits[split]
        return Patients(opened, range(len(opened.patients)))

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
    """Whether it names a folder, and no configuration."""
    if not isinstance(source, str | Path) or str(source) in config_files.names():
        return False
    is_file = ".py" in Path(source).suffix  # also with a role
    return Path(source).expanduser().is_dir() or ("/" in str(source) and not is_file)
