"""The elements of a DICOM file as plain values, or a SourceError that names the file.

Input: a file and keywords. Output: texts, numbers and items of sequences.
pydicom prints values and paths in warnings, logs and exceptions: `quietly` suppresses
them, and no message here repeats them.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom
import pydicom.config
from pydicom import multival

from mtl_jax.core import errors


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep pydicom from warning, logging and checking values."""
    logger = logging.getLogger("pydicom")
    disabled = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = disabled


def load(
    file: Path | BinaryIO, name: str, keywords: Sequence[str], *, pixels: bool
) -> pydicom.FileDataset:
    """The elements `keywords` of a file; a SourceError for one that is cut off."""
    try:
        with quietly():
            dataset = pydicom.dcmread(
                file,
                force=True,
                stop_before_pixels=not pixels,
                specific_tags=list(keywords),
            )
    # A damaged file may raise anything at all.
    except Exception as error:
        raise errors.SourceError(
            f"{name} cannot be read ({type(error).__name__}); copy it again"
        ) from None
    tags = list(dataset.keys())  # iterating would convert the elements
    for tag in tags:
        element = dataset.get_item(tag, keep_deferred=True)  # as it is, not its value
        length = getattr(element, "length", 0)  # of an element not yet looked at
        if length != 0xFFFFFFFF and length > len(element.value or b""):
            raise errors.SourceError(f"{name} is cut off; copy it again")
    return dataset


def value(dataset: pydicom.Dataset, keyword: str, name: str) -> Any:
    """The value of an element, None without one; a SourceError if it is no value."""
    try:
        with quietly():
            return dataset.get(keyword)
    except Exception:  # bytes that are no number, no text, no sequence
        raise errors.SourceError(
            f"{name} has a value for {keyword} that cannot be read; export it again"
        ) from None


def text(dataset: pydicom.Dataset, keyword: str, name: str) -> str:
    """The text of an element, several values divided by a backslash; '' without one."""
    content = value(dataset, keyword, name)
    if content is None or isinstance(content, pydicom.Sequence):
        return ""
    parts = content if isinstance(content, multival.MultiValue) else [content]
    with quietly():
        return "\\".join(str(part) for part in parts).strip(" \0")


def numbers(
    dataset: pydicom.Dataset, keyword: str, name: str, count: int | None = None
) -> tuple[float, ...]:
    """The finite numbers of an element, () without one; `count` of them if given."""
    content = value(dataset, keyword, name)
    if content is None or content == "":
        values: tuple[float, ...] = ()
    else:
        try:
            values = tuple(np.atleast_1d(np.asarray(content, np.float64)).tolist())
        except (TypeError, ValueError):
            values = (np.nan,)
    if not np.all(np.isfinite(values)):
        raise errors.SourceError(
            f"{name} has a value for {keyword} that is no finite number; export it "
            "again"
        )
    if count is not None and len(values) != count:
        raise errors.SourceError(
            f"{name} has {len(values)} numbers for {keyword}, expected {count}; "
            "export it again"
        )
    return values


def items(
    dataset: pydicom.Dataset, keyword: str, name: str
) -> Sequence[pydicom.Dataset]:
    """The items of a sequence; none without one."""
    sequence = value(dataset, keyword, name)
    return sequence if isinstance(sequence, pydicom.Sequence) else ()
