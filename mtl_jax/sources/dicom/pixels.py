"""The pixels of a DICOM file, as stored and in Hounsfield units.

Input: a file. Output: its integers, a mask of the padding, and rescaled values.
Uncompressed, RLE and deflated files need pydicom and NumPy alone; JPEG needs a decoder
that pydicom finds by itself once it is installed.
"""

import numpy as np
import pydicom
from pydicom import uid
from pydicom.pixels import processing, utils

from mtl_jax.core import errors
from mtl_jax.sources.dicom import elements, headers

KEYWORDS = (
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PixelData"),
    *("PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
)
NEEDED = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")
GREY = ("", "MONOCHROME1", "MONOCHROME2")
DECODERS = "pylibjpeg, pylibjpeg-libjpeg and pylibjpeg-openjpeg"


def read(file: headers.File) -> tuple[np.ndarray, pydicom.Dataset]:
    """Stored values [frames, rows, columns] or [rows, columns], all bits, and header.

    Raises:
        SourceError: pixels are missing, cut off, in colour, or cannot be decoded.
    """
    dataset = elements.load(file.path, file.name, KEYWORDS, pixels=True)
    if "PixelData" not in dataset:
        raise file.error("has no pixels (PixelData); export it again")
    for keyword in NEEDED:
        if not elements.numbers(dataset, keyword, file.name):
            raise file.error(
                f"has no {keyword}, without which its pixels cannot be read; export it "
                "again"
            )
    colours = elements.text(dataset, "PhotometricInterpretation", file.name)
    samples = elements.numbers(dataset, "SamplesPerPixel", file.name)
    if samples not in ((), (1.0,)) or colours not in GREY:
        raise file.error(
            "is a picture in colour (SamplesPerPixel, PhotometricInterpretation), not "
            "a CT or a dose"
        )
    syntax = _transfer_syntax(dataset, file)
    try:
        with elements.quietly():
            # As they are: padding may use bits beyond BitsStored (see `significant`).
            stored = utils.pixel_array(dataset, correct_unused_bits=False)
    # Decoders raise all kinds of exceptions for what they cannot read.
    except Exception as error:
        raise _refusal(file, syntax, error) from None
    high, bits = (
        elements.numbers(dataset, keyword, file.name, 1)[0]
        for keyword in ("HighBit", "BitsStored")
    )
    if high != bits - 1:
        raise file.error(f"has HighBit {high:g} with BitsStored {bits:g}; export again")
    return stored.astype(stored.dtype.newbyteorder("="), copy=False), dataset


def _transfer_syntax(dataset: pydicom.FileDataset, file: headers.File) -> uid.UID:
    """How the pixels are encoded; without file meta as pydicom found the header."""
    meta = dataset.file_meta
    if not elements.text(meta, "TransferSyntaxUID", file.name):
        implicit, little = dataset.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    with elements.quietly():
        return uid.UID(elements.text(meta, "TransferSyntaxUID", file.name))


def _refusal(
    file: headers.File, syntax: uid.UID, error: Exception
) -> errors.SourceError:
    if syntax.is_private or not syntax.is_transfer_syntax:
        return file.error(
            "has a transfer syntax that is not of the standard; export it uncompressed"
        )
    if syntax.is_compressed and syntax != uid.RLELossless:
        return file.error(
            f"is compressed ({syntax.name}) and cannot be decoded "
            f"({type(error).__name__}): install {DECODERS}, or export uncompressed"
        )
    return file.error(
        f"has pixels that do not fit its header ({type(error).__name__}): cut off or "
        "damaged; copy or export it again"
    )


def padding(
    stored: np.ndarray, dataset: pydicom.Dataset, file: headers.File
) -> np.ndarray:
    """Where `stored` is no measurement: PixelPaddingValue, or its range."""
    padding_values = [
        limit
        for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")
        for limit in elements.numbers(dataset, keyword, file.name)
    ]
    if not padding_values:
        return np.zeros(stored.shape, bool)
    # Some writers give a signed value as unsigned, or the other way round.
    wrap = 1 << (8 * stored.dtype.itemsize)
    limits = np.array([int(limit) % wrap for limit in padding_values], np.uint64)
    limits = limits.astype(f"u{stored.dtype.itemsize}").view(stored.dtype)
    return (stored >= limits.min()) & (stored <= limits.max())


def significant(
    stored: np.ndarray, dataset: pydicom.Dataset, file: headers.File
) -> np.ndarray:
    """`stored` by its lowest BitsStored bits, which carry the sign too."""
    (bits,) = elements.numbers(dataset, "BitsStored", file.name, 1)
    unused = 8 * stored.dtype.itemsize - int(bits)
    return (stored << unused) >> unused


def rescaled(
    values: np.ndarray, dataset: pydicom.Dataset, file: headers.File
) -> np.ndarray:
    """`values` by the Modality LUT, else the rescale, of their own file, in float64."""
    luts = elements.items(dataset, "ModalityLUTSequence", file.name)
    if luts:
        if elements.text(luts[0], "ModalityLUTType", file.name) != "HU":
            raise file.error(
                "has a Modality LUT that gives no Hounsfield units; export the CT "
                "itself"
            )
        try:
            with elements.quietly():
                return processing.apply_modality_lut(values, dataset).astype(float)
        except Exception as error:  # a table that is damaged in one way or another
            raise file.error(
                f"has a Modality LUT that cannot be read ({type(error).__name__})"
            ) from None
    slope, intercept = (
        elements.numbers(dataset, keyword, file.name)
        for keyword in ("RescaleSlope", "RescaleIntercept")
    )
    single = len(slope) == len(intercept) == 1
    if not single or not 0 < abs(slope[0]) <= 1e3 or abs(intercept[0]) > 1e6:
        raise file.error(
            "has no RescaleSlope (other than 0) and RescaleIntercept that make its "
            "values Hounsfield units; export it again"
        )
    return values.astype(np.float64) * slope[0] + intercept[0]
