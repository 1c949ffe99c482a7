"""The folder of a NIfTI data set: which files are a case, which label is which name.

Input: a folder with `dataset.json`, in nnU-Net's raw layout (version 2) or in that of
the Medical Segmentation Decathlon, which MONAI reads. Output: a Layout.

nnU-Net has no place for a dose: here it is `dosesTr/NAME.nii.gz` (`dosesTs` for test
cases) or a channel called `dose`; in the decathlon's layout the key `dose` of a case.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mtl_jax.core import documents, errors
from mtl_jax.sources.nifti import oriented

FILE = "dataset.json"
INSTRUCTIONS = (
    f"put a {FILE} there, in nnU-Net's raw layout (version 2) or in MONAI's decathlon "
    "layout, with CTs, label maps and doses as NIfTI "
    "(docs/reference/nifti-dataset.md)"
)
CT, DOSE = "CT", "dose"
BACKGROUND, IGNORE = "background", "ignore"
# Names of a case's split in the decathlon's layout.
_LISTS = {"training": "train", "validation": "validation", "test": "test"}
Labels = Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Case:
    """The files of a patient; paths that a user gave need not exist."""

    name: str
    split: str  # as the layout has it; without a validation split in it: train
    ct: Path
    labels: Path | None
    dose: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return tuple(path for path in (self.ct, self.labels, self.dose) if path)


@dataclasses.dataclass(frozen=True)
class Layout:
    """The cases by name, and the values of each label's name in the label maps."""

    cases: Mapping[str, Case]
    labels: Labels  # without the background; regions of nnU-Net have several values


def read(folder: Path) -> Layout:
    """The layout that `folder`'s dataset.json describes.

    Raises:
        SourceError: there is none, or it is of another layout.
    """
    path = folder / FILE
    if not path.is_file():
        raise errors.SourceError(f"the manual_dir has no {FILE}; {INSTRUCTIONS}")
    try:
        content = documents.read(path, (".json",), "description of a data set")
        labels = _labels(content.get("labels"))
        if isinstance(content.get("training"), list):
            cases = [*_decathlon(folder, content)]
        elif isinstance(content.get("channel_names"), Mapping):
            cases = [*_nnunet(folder, content)]
        else:
            raise errors.SourceError(
                "it has neither channel_names (nnU-Net, version 2) nor training "
                "(MONAI's decathlon)"
            )
        _check_names([case.name for case in cases])
    except errors.MtlError as error:
        raise errors.SourceError(
            f"{FILE}: {str(error).replace(str(path), FILE)}; {INSTRUCTIONS}"
        ) from None
    return Layout({case.name: case for case in cases}, labels)


def _nnunet(folder: Path, content: Mapping[str, Any]) -> Iterator[Case]:
    ending = content.get("file_ending")
    if ending not in oriented.SUFFIXES:
        raise errors.SourceError(
            f"file_ending is {ending!r}, expected one of {', '.join(oriented.SUFFIXES)}"
        )
    if "dataset" in content:
        raise errors.SourceError("files that `dataset` lists elsewhere are not read")
    channels = content["channel_names"]
    ct, dose = _channel(channels, CT), _channel(channels, DOSE)
    if ct is None:
        raise errors.SourceError(
            f"channel_names has {', '.join(map(repr, channels.values()))}, but no 'CT'"
        )
    suffix = f"_{ct}{ending}"
    for part, split in (("Tr", "train"), ("Ts", "test")):
        for image in sorted((folder / f"images{part}").glob(f"*{suffix}")):
            name = image.name.removesuffix(suffix)
            given = folder / f"doses{part}" / f"{name}{ending}"
            if dose is not None:
                given = image.with_name(f"{name}_{dose}{ending}")
            labels = folder / f"labels{part}" / f"{name}{ending}"
            yield Case(name, split, image, _present(labels), _present(given))


def _channel(channels: Mapping[str, Any], name: str) -> str | None:
    """The number of the channel called `name` in files' names, None without one."""
    numbers = [n for n, text in channels.items() if str(text).upper() == name.upper()]
    if len(numbers) > 1 or not all(number.isdecimal() for number in numbers):
        raise errors.SourceError(f"channel_names has {name!r} more than once, or amiss")
    return f"{int(numbers[0]):04}" if numbers else None


def _decathlon(folder: Path, content: Mapping[str, Any]) -> Iterator[Case]:
    for key, split in _LISTS.items():
        rows = content.get(key, ())
        if not isinstance(rows, list | tuple):
            raise errors.SourceError(f"{key} is no list")
        for number, row in enumerate(rows, 1):
            entry = {"image": row} if isinstance(row, str) else row
            if not isinstance(entry, Mapping):
                raise errors.SourceError(
                    f"{key}, entry {number}: expected image, label"
                )
            image, labels, dose = (
                _inside(folder, entry.get(name), f"{key}, entry {number}: {name}")
                for name in ("image", "label", "dose")
            )
            if image is None or not oriented.is_nifti(image):
                raise errors.SourceError(
                    f"{key}, entry {number}: image is no NIfTI file"
                )
            name = image.name.removesuffix(".gz").removesuffix(".nii")
            yield Case(name, split, image, labels, dose)


def _inside(folder: Path, path: Any, key: str) -> Path | None:
    """The file that an entry names; a SourceError unless it is below `folder`."""
    if path is None:
        return None
    if (
        not isinstance(path, str)
        or Path(path).is_absolute()
        or ".." in Path(path).parts
    ):
        raise errors.SourceError(f"{key} is no relative path of one file in the folder")
    return folder / path


def _present(path: Path) -> Path | None:
    return path if path.exists() else None


def _labels(content: Any) -> Labels:
    """Values by name: `name: value(s)` (nnU-Net) or `"value": name` (decathlon)."""
    if not isinstance(content, Mapping) or not content:
        raise errors.SourceError("labels is missing: which value is which structure")
    values: dict[str, tuple[int, ...]] = {}
    for key, value in content.items():
        name, numbers = (value, key) if isinstance(value, str) else (key, value)
        several = numbers if isinstance(numbers, list) else [numbers]
        try:
            found = tuple(int(str(number)) for number in several)
        except ValueError:
            found = ()
        if not found or min(found) < 0 or name in values:
            raise errors.SourceError(
                f"labels has {key!r}: {value!r}; expected a name and whole numbers, "
                "each name once"
            )
        values[name] = found
    return {name: found for name, found in values.items() if found != (0,)}


def _check_names(names: list[str]) -> None:
    if not names:
        raise errors.SourceError("there is no case: no image that it describes")
    if len(set(names)) < len(names):
        raise errors.SourceError("two cases have one name: each image has its own")


def splits_of(layout: Layout) -> dict[str, str]:
    """The split that the layout gives to each case that can be learned or tested on.

    Test cases without labels are left out: that is how both layouts hide them.
    """
    return {
        name: case.split
        for name, case in layout.cases.items()
        if case.split != "test" or case.labels is not None
    }
