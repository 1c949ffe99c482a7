"""Passes and parts of programs, read from HLO that was worked by hand."""

import dataclasses
import pathlib

import pytest

from benchmarks.roofline import chips, hlo, parts

CHIP = chips.Chip(operations=1e6, memory=0.0, memory_rate=1e6, link_rate=1.0)
TRAIN = "jit(train)/jvp(MultiTask)"
BACK = "jit(train)/transpose(jvp(MultiTask))"

HERE = pathlib.Path(__file__).parent
# As libtpu writes it: tiles, memory space 1 (a chip's own), copies in two halves.
TPU = (HERE / "tpu.hlo.txt").read_text()
# As XLA writes it for a GPU: convolutions and products are calls of libraries.
GPU = (HERE / "gpu.hlo.txt").read_text()


def test_bytes_cycles_and_operations_of_a_program_for_a_tpu():
    copy, convolution, last = hlo.passes(TPU)
    x, y = 8 * 4 * 4 * 16 * 2, 8 * 4 * 4 * 32 * 2
    # Into the chip's own memory: once, from HBM.
    assert (copy.kind, copy.bytes, copy.padded_bytes) == ("copy-start", x, 8 * x)
    # The map is read from the chip's own memory, the kernel and the result are not.
    # Of 128 lanes 32 are filled; channels in of the kernel fill two tiles of 8 rows.
    kernel = 3 * 3 * 16 * 32 * 2
    assert convolution.bytes == kernel + y
    assert convolution.padded_bytes == 4 * (kernel + y)
    assert convolution.operations == 2 * 9 * 16 * 32 * 8 * 4 * 4
    assert convolution.product and not convolution.float32
    assert (convolution.cycles, last.cycles, copy.cycles) == (3000, 1000, None)
    assert last.bytes == 2 * y and not last.product


def test_the_products_of_a_program_for_a_gpu():
    convolution, product = hlo.passes(GPU)
    assert convolution.kind == "__cudnn$convBackwardFilter"
    assert convolution.operations == 2 * 9 * 16 * 32 * 8 * 4 * 4
    assert convolution.float32 and not product.float32
    assert product.operations == pytest.approx(2 * 6 * 5 * 7)


def test_the_gradient_of_a_strided_convolution_does_not_multiply_zeros():
    line = (
        "  %c = f32[1,8,8,3]{3,2,1,0} convolution(%dy, %w), window={size=3x3 "
        "pad=1_2x1_2 lhs_dilate=2x2}, dim_labels=b01f_01oi->b01f\n"
    )
    text = (
        "ENTRY %main (dy: f32[1,4,4,5]) -> f32[1,8,8,3] {\n"
        "  %dy = f32[1,4,4,5]{3,2,1,0} parameter(0)\n"
        "  %w = f32[3,3,3,5]{3,2,1,0} parameter(1)\n" + line + "}\n"
    )
    (found,) = hlo.passes(text)
    assert found.operations == 2 * 9 * 3 * 5 * 4 * 4


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (f"{TRAIN}/encoder/layer3_4/bn1/mul", "encoder/layer3"),
        (f"{BACK}/encoder/conv1/conv_general_dilated", "encoder/conv1"),
        (f"{BACK}/head_dose/project/add", "head_dose"),
        ("jit(train)/optimizer/mul", "optimizer"),
        ("jit(train)/jvp()/reduce_sum", parts.REST),
        ("", parts.REST),
    ],
)
def test_the_part_of_a_scope(scope, expected):
    assert parts.part(scope) == expected


def test_parts_have_the_compilers_cycles_as_shares():
    found = parts.summary(hlo.passes(TPU), CHIP)
    block, copy = found["by_part"]
    assert (block["part"], block["cycles"], block["share"]) == (
        "decoder_dose/block5",
        4000,
        1.0,
    )
    assert block["backward"] == 0.25 and block["waste"] == 0.75
    assert (copy["part"], copy["share"]) == (parts.REST, 0.0)
    assert found["cycles"] == 4000 and found["float32_operations"] == 0
    largest = found["largest_without_product"]
    assert [each["name"] for each in largest] == ["r", "cs"]


def test_the_least_time_of_a_pass():
    _, convolution, last = hlo.passes(TPU)
    assert parts.seconds(convolution, CHIP) == convolution.operations / 1e6
    assert parts.seconds(last, CHIP) == last.padded_bytes / 1e6
    assert parts.seconds(last, dataclasses.replace(CHIP, launch=9.0)) == 9.0
    product = hlo.passes(GPU)[0]
    halved = dataclasses.replace(CHIP, tf32=0.5e6)
    assert parts.seconds(product, halved) == 2 * parts.seconds(product, CHIP)
