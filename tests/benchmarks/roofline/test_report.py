"""Tables and suggestions, from invented results."""

import pytest

from benchmarks.roofline import report
from mtl_jax.configs import openkbp

GIB = 2**30
MEMORY = {"arguments": 1, "results": 0, "temporaries": 2, "code": 0.5, "sum": 3.5}


@pytest.fixture
def result() -> dict:
    """One program that fits, on four chips of two devices each."""
    program = {
        "backend": "jit", "part": "train", "batch_size": 32, "fits": True,
        "memory": {key: size * GIB for key, size in MEMORY.items()},
        "with_kernels": 1, "operations": 5e9, "bytes": 1e9, "seconds": 61.2,
        "collectives": {"all-reduce": {"count": 7, "bytes": 2_000_000}},
        "roofline": {
            "bound": "memory", "images_per_second_per_chip": 123.4,
            "seconds": {"arithmetic": 0.001, "memory": 0.01},
        },
        "summary": {
            "passes": 2, "operations": 4e9, "float32_operations": 1e9, "cycles": 3e6,
            "memory_bytes": 0.5e9, "padded_bytes": 1e9,
            "by_part": [
                {
                    "part": "encoder/layer1", "passes": 2, "operations": 4e9,
                    "memory_bytes": 0.5e9, "padded_bytes": 1e9, "cycles": 3_000_000,
                    "share": 1.0, "backward": 0.25, "waste": 0.5,
                }
            ],
            "largest_without_product": [
                {
                    "name": "fusion.1", "kind": "fusion", "scope": "encoder/add",
                    "memory_bytes": 1e6, "padded_bytes": 4e6, "cycles": 12_345,
                }
            ],
        },
    }  # fmt: skip
    return {
        "command": "it", "cores": 2, "chips": 4, "chip_bytes": 32 * GIB,
        "available": 15 * GIB, "versions": {"jax": "1", "libtpu": "2"},
        "batch_norms": 3, "programs": [program],
    }  # fmt: skip


def failed(part: str = "train", batch_size: int = 64, needed_gib: float = 30.0) -> dict:
    return {
        "backend": "jit", "part": part, "batch_size": batch_size, "fits": False,
        "asked": needed_gib * GIB, "said": "no", "suggestions": ["this", "that"],
    }  # fmt: skip


def test_a_chip_of_two_devices_has_twice_what_a_device_has(result):
    text = report.table(result)
    assert "4 chips of 2 devices each, 32.00 GiB of HBM a chip" in text
    assert "a program can use 30.00;" in text
    row = "| jit, train | 32 | 2.00 | 4.00 | 1.00 | 7.00 | 10 | 2.0 | 50% | 3.00 | 123 "
    row += "| memory | "
    assert row + "61 s |" in text
    assert "| jit, train | 7 all-reduce | 1 | 2.000 |" in text
    assert "3 batch normalisations" in text and "would be 8 in training" in text


def test_the_parts_and_the_largest_passes_of_a_program(result):
    text = report.table(result)
    assert "Least time by arithmetic 1.00 ms, memory 10.00 ms." in text
    assert "2 passes, 25% of the operations of products with a float32" in text
    assert "| encoder/layer1 | 100.0% | 25% | 2 | 4.0 | 1.00 | 50% | 3.00 |" in text
    assert "| `encoder/add` | fusion | 4.0 | 75% | 0.01 |" in text


def test_the_parts_are_drawn(result, tmp_path):
    path = tmp_path / "new" / "parts.png"
    report.draw_parts(result | {"topology": "v5e:1x1"}, path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_program_that_does_not_fit_says_by_how_much_and_what_may_help(result):
    text = report.table(result | {"programs": [failed()]})
    assert "| jit, train | 64 | does not fit |" in text
    assert (
        "does not fit: needs 60.00 of 30.00 GiB a chip. What may help:\n- this\n"
        in text
    )
    text = report.table(result | {"programs": [failed() | {"asked": None}]})
    assert "does not fit: no." in text


def test_the_search_reports_both_bounds(result):
    largest = {"backend": "jit", "part": "train", "fits": 8, "too_large": 16}
    text = report.table(result | {"largest": largest | {"compilations": 6}})
    assert "train: 8 fits, 16 does not (6 compilations)" in text


def suggested(result: dict, change: dict | None = None, **row) -> dict[str, str]:
    """What is suggested for a batch of 64 of the paper's run, and why."""
    config = openkbp.get_config()
    config.update(change or {})
    config.train.batch_size = row.get("batch_size", 64)
    lines = report.suggestions(config, failed(**row), result)
    return dict(line.split(":", 1) for line in lines)


def test_suggestions_can_be_shared_by_the_devices(result):
    # Eight devices; twice the available memory and a margin of a tenth: 64 / 2.2 = 29.
    # Halving 64 twice gives 16.
    assert list(suggested(result)) == [
        "--config.model.remat=True",
        "a --topology with more chips",
        "--config.model.dtype=bfloat16",
        "--config.train.accumulate=4",
        "--config.train.batch_size=16",
    ]


def test_a_change_already_made_is_not_suggested(result):
    change = {"model": {"remat": True, "dtype": "bfloat16"}}
    lines = suggested(result, change, needed_gib=1000.0, batch_size=8)
    assert list(lines) == ["a --topology with more chips"]


def test_predictions_do_not_depend_on_their_batch(result):
    assert suggested(result, part="inference") == {
        "a --topology with more chips": " the same result",
        "--config.model.dtype=bfloat16": " half the bytes of activations",
        "--config.evaluate.batch_size=16": " a smaller batch; the same result",
    }
