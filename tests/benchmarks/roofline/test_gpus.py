"""First contact with a GPU: the compiler for an H200 takes every step, without a card.

The networks are narrow, but have every layer and form of the full ones. A compiler that
cannot take a program may abort the process, so each runs in one of its own.
"""

import json

import pytest

from benchmarks.roofline import chips, gpus
from mtl_jax.core import errors
from tests.benchmarks.roofline import test_command

NEEDS_PLUGIN = pytest.mark.skipif(
    not gpus.installed(),
    reason="no compiler for NVIDIA's GPUs (extra `gpu-compiler`)",
)
NARROW = (
    "--config.data.image_size=(64, 64)",
    "--config.model.stage_sizes=(2, 2, 2, 2)",
    "--config.model.width=16",
    "--config.model.decoder_widths=(64, 32, 16, 16, 16)",
    "--config.model.bottleneck_width=32",
    "--config.model.rewrites=auto",
    "--config.train.batch_size=8",
    "--config.evaluate.batch_size=8",
    "--backends=jit",
)


@NEEDS_PLUGIN
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("role", ["baseline", "hps", "mtan", "multi"])
def test_training_and_inference_compile_for_an_h200(tmp_path, role, dtype):
    done = test_command.compile_for(
        tmp_path,
        "--topology=h200",
        f"--config.model.dtype={dtype}",
        network=(f"--config=configs/openkbp.py:{role}", *NARROW),
    )
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads((tmp_path / "result.json").read_text())
    assert [row["part"] for row in result["programs"]] == ["train", "inference"]
    for row in result["programs"]:
        found = row["summary"]
        assert found["operations"] > 0 and row["memory"]["temporaries"] > 0
        if dtype == "bfloat16":
            assert found["float32_operations"] == 0


@NEEDS_PLUGIN
def test_several_steps_in_one_call_compile_for_an_h200(tmp_path):
    done = test_command.compile_for(
        tmp_path,
        "--topology=h200",
        "--parts=train",
        "--config.train.steps_per_call=10",
        network=("--config=configs/openkbp.py:multi", *NARROW),
    )
    assert done.returncode == 0, done.stderr[-4000:]


def test_every_card_has_its_peaks_and_its_description():
    cards = {name for name, chip in chips.CHIPS.items() if chip.platform == "cuda"}
    assert cards == set(gpus.CARDS)
    for name, card in gpus.CARDS.items():
        text = gpus.description_of(card)
        assert f"core_count: {card.cores}\n" in text and text.count("{") == 3
        # The description has the rate of the same card as the table of peaks.
        rate = chips.of(name).memory_rate
        assert card.memory_rate == pytest.approx(rate, rel=0.001)
        assert card.memory == pytest.approx(chips.of(name).memory, rel=0.08)


def test_several_cards_are_refused():
    with pytest.raises(errors.ConfigError, match="one card of h200, h100, a100"):
        gpus.devices("h200:8")
