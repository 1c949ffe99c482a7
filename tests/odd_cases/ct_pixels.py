"""What the CT's pixels mean: rescale, bits, padding, units, encodings."""

import numpy as np
import pydicom
from pydicom import uid

from tests.odd_cases import changes as do
from tests.odd_cases import expect, shapes, writer

CORNER = np.zeros(shapes.CT.count[1::-1], bool)
CORNER[:3, :3] = CORNER[-3:, -3:] = True


def stored(*, bits: int = 16, **settings) -> do.Change:
    """HU stored by another rescale, sign or number of bits."""
    return do.hu(lambda z, s, hu: writer.set_hu(s, hu, bits=bits, **settings))


def rescaled_by_slice(z: int, made_slice: pydicom.Dataset, hu: np.ndarray) -> None:
    slope = (1, 0.5, 0.25)[z % 3]
    writer.set_hu(made_slice, hu, slope=slope, intercept=-1024 - 16 * z)


def twelve_bits_signed(z: int, made_slice: pydicom.Dataset, hu: np.ndarray) -> None:
    """Two's complement in the lower 12 bits, other data in the upper four."""
    values = hu.astype(np.int16).view(np.uint16) & 0x0FFF | 0x5000
    writer.set_pixels(made_slice, values.view(np.int16), 12)
    made_slice.RescaleSlope, made_slice.RescaleIntercept = 1, 0


def overlay_bits(z: int, made_slice: pydicom.Dataset, hu: np.ndarray) -> None:
    """An overlay in bit 14, as old scanners stored it."""
    values = (hu + 1024).astype(np.uint16) | 0x4000
    writer.set_pixels(made_slice, values, 12)


def negative_as_unsigned(made: writer.Made) -> None:
    def alter(z: int, made_slice: pydicom.Dataset, hu: np.ndarray) -> None:
        values = hu.astype(np.int16).view(np.uint16)
        writer.set_pixels(made_slice, values)
        made_slice.RescaleIntercept = 0

    do.hu(alter)(made)
    # What the file says, and what the note is about.
    made.truth.ct = np.where(made.truth.ct < 0, made.truth.ct + 65536, made.truth.ct)


def corners(value: float, **elements: object) -> do.Change:
    """Corners outside of the field of view, signed; they become the least of air."""

    def alter(z: int, made_slice: pydicom.Dataset, hu: np.ndarray) -> None:
        padded = np.where(CORNER, value, hu)
        writer.set_hu(made_slice, padded, intercept=0, kind=np.int16)
        for keyword, given in elements.items():
            element = pydicom.DataElement(keyword, "SS", given)
            made_slice.add(element)

    def air(ct: np.ndarray) -> np.ndarray:
        ct[:, CORNER] = -1024
        return ct

    return do.both(do.hu(alter), do.truth_ct(air))


def values(change) -> do.Change:
    """Another CT: `change(hu)` of each voxel, whole numbers."""

    def make(made: writer.Made) -> None:
        made.truth.ct = change(made.truth.ct)
        stored(intercept=-4096)(made)

    return make


def without_intercept(made: writer.Made) -> None:
    do.put("ct/*", RescaleIntercept=0)(made)
    made.truth.ct = made.truth.ct + 1024


def jump(made: writer.Made) -> None:
    do.put("ct/4.dcm", RescaleIntercept=0)(made)
    made.truth.ct[4] += 1024


def lut(kind: str) -> do.Change:
    """A table for 0 to 4095 in place of the rescale, which still stands there."""

    def alter(z: int, made_slice: pydicom.Dataset, hu: np.ndarray) -> None:
        writer.set_pixels(made_slice, (4095 - np.maximum(hu, 0)).astype(np.uint16), 12)
        item = writer.data(ModalityLUTType=kind)
        item.add_new("LUTDescriptor", "US", [4096, 0, 16])
        item.add_new("LUTData", "OW", np.arange(4096)[::-1].astype("<u2").tobytes())
        made_slice.ModalityLUTSequence = [item]

    return do.both(do.hu(alter), do.truth_ct(lambda ct: np.maximum(ct, 0)))


def jpeg_ls(made: writer.Made) -> None:
    do.encoded("ct/*", uid.JPEGLSLossless)(made)
    compress(made, "ct/*", uid.JPEGLSLossless)


def compress(made: writer.Made, pattern: str, syntax: str) -> None:
    for made_file in made.named(pattern):
        made_file.file_meta = pydicom.dataset.FileMetaDataset()
        made_file.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        instance = made_file.SOPInstanceUID
        made_file.compress(syntax, generate_instance_uid=False)
        assert made_file.SOPInstanceUID == instance


def run_length(pattern: str) -> do.Change:
    def change(made: writer.Made) -> None:
        compress(made, pattern, uid.RLELossless)

    return do.both(change, do.encoded(pattern, uid.RLELossless))


def damaged_jpeg(made: writer.Made) -> None:
    for made_slice in made.named("ct/*"):
        made_slice.PixelData = pydicom.encaps.encapsulate(
            [b"\xff\x4f\xff\x51" + bytes(60)]
        )
        made_slice["PixelData"].VR = "OB"
        made_slice["PixelData"].is_undefined_length = True


def float_pixels(made_slice: pydicom.Dataset) -> None:
    del made_slice.PixelData
    made_slice.FloatPixelData = np.zeros(24 * 32, np.float32).tobytes()


def window(made_slice: pydicom.Dataset) -> None:
    made_slice.WindowCenter, made_slice.WindowWidth = [40, 600], [400, 1600]
    made_slice.VOILUTFunction = "SIGMOID"


def overlay(made_slice: pydicom.Dataset) -> None:
    made_slice.add_new(0x60000010, "US", 24)
    made_slice.add_new(0x60000011, "US", 32)
    made_slice.add_new(0x60003000, "OW", bytes(96))


RESCALE: dict[str, expect.Case] = {
    "slope 0.5": expect.right("8", stored(slope=0.5)),
    "slope and intercept of each slice's own": expect.right(
        "8", do.hu(rescaled_by_slice)
    ),
    "negative slope": expect.right("8", stored(slope=-1, intercept=3000)),
    "intercept that is no integer": expect.right(
        "8", stored(slope=0.25, intercept=-1024.5)
    ),
    "no slope": expect.refused(
        "8", do.put("ct/4.dcm", RescaleSlope=None), "no RescaleSlope"
    ),
    "no intercept": expect.refused(
        "8", do.put("ct/4.dcm", RescaleIntercept=None), "RescaleIntercept"
    ),
    "slope of 0": expect.refused(
        "8", do.put("ct/4.dcm", RescaleSlope=0), "no RescaleSlope"
    ),
    "slope with a decimal comma": expect.refused(
        "8",
        do.both(
            do.put("ct/4.dcm", RescaleSlope="1.0000000"),
            do.replaced("ct/4.dcm", b"1.0000000", b"1,0000000"),
        ),
        "RescaleSlope",
    ),
    "no RescaleType": expect.right("9", do.put("ct/*", RescaleType=None)),
    "RescaleType US, air and water in place": expect.noted(
        "9", do.put("ct/*", RescaleType="US"), "RescaleType 'US'"
    ),
    "RescaleType US, values of another kind": expect.refused(
        "9",
        do.put("ct/*", RescaleType="US", RescaleIntercept=0),
        "do not look like Hounsfield units",
    ),
    "optical density": expect.refused("9", do.put("ct/*", RescaleType="OD"), "'OD'"),
    "electron density": expect.refused("9", do.put("ct/*", RescaleType="ED"), "'ED'"),
    "modified HU of a dual-energy CT": expect.refused(
        "9", do.put("ct/*", RescaleType="HU_MOD"), "'HU_MOD'"
    ),
    "RescaleType in small letters": expect.right("9", do.put("ct/*", RescaleType="hu")),
    # Its entries are 0 or more, so there is no air.
    "look-up table of HU": expect.noted("8", lut("HU"), "Hounsfield"),
    "look-up table of other units": expect.refused("8", lut("OD"), "Modality LUT"),
}

VALUES: dict[str, expect.Case] = {
    "corners of a PixelPaddingValue": expect.noted(
        "9", corners(-2000, PixelPaddingValue=-2000), "padding"
    ),
    "corners of a range of padding": expect.noted(
        "9",
        corners(-1900, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1800),
        "padding",
    ),
    "corners of -3024 that nobody calls padding": expect.noted(
        "9", corners(-3024), "less than air"
    ),
    "padding within the range of tissue": expect.noted(
        "9", corners(500, PixelPaddingValue=500), "padding"
    ),
    "metal of 20,000 HU": expect.right(
        "9", values(lambda ct: np.where(CORNER & (ct > -2000), 20000, ct))
    ),
    "cropped to the body: no air": expect.noted(
        "9", values(lambda ct: np.maximum(ct, -90)), "Hounsfield"
    ),
    "0 to 4,095 without an intercept": expect.noted(
        "9", without_intercept, "Hounsfield"
    ),
    "one slice is 1,024 HU off": expect.refused(
        "9", jump, "HU above the slices on both sides", "--accept=ct_jump"
    ),
    "one slice is 1,024 HU off, accepted": expect.noted(
        "9", jump, "HU above", options={"accept": ("ct_jump",)}
    ),
    "signed, without an intercept": expect.right(
        "10", stored(intercept=0, kind=np.int16)
    ),
    "signed in 12 of 16 bits": expect.right("10", do.hu(twelve_bits_signed)),
    "unsigned with all 16 bits used": expect.right(
        "10", stored(intercept=-32768 - 1024)
    ),
    "an overlay in unused bits": expect.right("10", do.hu(overlay_bits)),
    "BitsStored of 13, HighBit 12": expect.right("10", stored(bits=13)),
    "32 bits": expect.right("10", stored(kind=np.int32, bits=32, intercept=0)),
    "signed values called unsigned": expect.noted(
        "10", negative_as_unsigned, "Hounsfield"
    ),
    "HighBit that does not fit": expect.refused(
        "10", do.put("ct/4.dcm", HighBit=11), "HighBit 11 with BitsStored 16"
    ),
    "no PixelRepresentation": expect.refused(
        "10",
        do.put("ct/4.dcm", PixelRepresentation=None),
        "no PixelRepresentation",
    ),
    "no BitsStored": expect.refused(
        "10", do.put("ct/4.dcm", BitsStored=None), "no BitsStored"
    ),
    "MONOCHROME1": expect.right(
        "9", do.put("ct/*", PhotometricInterpretation="MONOCHROME1")
    ),
    "palette colours": expect.refused(
        "9", do.put("ct/*", PhotometricInterpretation="PALETTE COLOR"), "colour"
    ),
    "RGB": expect.refused(
        "9",
        do.put("ct/*", PhotometricInterpretation="RGB", SamplesPerPixel=3),
        "colour",
    ),
    "no pixels": expect.refused(
        "11", do.put("ct/4.dcm", PixelData=None), "has no pixels"
    ),
    "pixels as floating-point numbers": expect.refused(
        "11", do.each("ct/4.dcm", float_pixels), "has no pixels"
    ),
    "fewer pixels than rows and columns": expect.refused(
        "11", do.put("ct/4.dcm", PixelData=bytes(100)), "do not fit its header"
    ),
    "more pixels than rows and columns": expect.right(
        "11",
        do.each(
            "ct/4.dcm", lambda s: s.__setattr__("PixelData", s.PixelData + b"\1\2")
        ),
    ),
    "windows and a sigmoid for display": expect.right("8", do.each("ct/*", window)),
    "an overlay of its own group": expect.right("45", do.each("ct/*", overlay)),
}

ENCODING: dict[str, expect.Case] = {
    "implicit little endian": expect.right(
        "12", do.encoded("*", uid.ImplicitVRLittleEndian)
    ),
    "big endian": expect.right("12", do.encoded("*", uid.ExplicitVRBigEndian)),
    "deflated": expect.right("11", do.encoded("*", uid.DeflatedExplicitVRLittleEndian)),
    "RLE": expect.right("11", run_length("ct/*")),
    "JPEG-LS": expect.right("11", jpeg_ls, needs="jpeg_ls"),
    "RLE and uncompressed slices in one series": expect.right(
        "11", run_length("ct/[02468].dcm")
    ),
    "JPEG 2000 that cannot be decoded": expect.refused(
        "11",
        do.both(damaged_jpeg, do.encoded("ct/*", uid.JPEG2000Lossless)),
        "compressed (JPEG 2000",
        "install",
    ),
    "a private transfer syntax": expect.refused(
        "11",
        do.replaced("ct/4.dcm", b"1.2.840.10008.1.2.1\0", b"1.2.840.113619.5.2\0\0"),
        "transfer syntax",
    ),
    "no preamble, no meta, implicit": expect.right(
        "13", do.both(do.encoded("*", uid.ImplicitVRLittleEndian), do.bare("*"))
    ),
    "no preamble, no meta, explicit": expect.right("13", do.bare("*")),
    "no preamble in the structure set alone": expect.right(
        "13",
        do.both(do.encoded("rs.dcm", uid.ImplicitVRLittleEndian), do.bare("rs.dcm")),
    ),
    "no preamble in the dose alone": expect.right(
        "13",
        do.both(do.encoded("rd.dcm", uid.ImplicitVRLittleEndian), do.bare("rd.dcm")),
    ),
    "dose in RLE": expect.right(
        "11",
        do.both(
            lambda made: do.files(rd=writer.dose(kind=np.uint16))(made),
            run_length("rd.dcm"),
        ),
    ),
    "a slice cut off in its pixels": expect.refused(
        "11", do.cut("ct/4.dcm", 0.9), "is cut off"
    ),
    "a slice cut off in its header": expect.refused(
        "11", do.cut("ct/4.dcm", 0.3), "cut off"
    ),
    "a dose cut off": expect.refused("11", do.cut("rd.dcm", 0.9), "is cut off"),
    "a structure set cut off": expect.refused(
        "28", do.cut("rs.dcm", 0.7), "is cut off"
    ),
}
