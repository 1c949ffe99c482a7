"""metrics.jsonl, TensorBoard files and pictures."""

import json

import numpy as np

from mtl_jax.train import writers


def test_lines_after_the_restored_step_are_cut_back(tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [{"step": step, "loss/dose": step / 10} for step in (10, 20, 30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 4')
    lines = writers.JsonLines(path, resume_step=20)
    lines.write_scalars(30, {"loss/dose": np.float32(0.5), "epoch": 1})
    lines.close()
    found = writers.read_json_lines(path)
    assert found == [*rows[:2], {"step": 30, "loss/dose": 0.5, "epoch": 1}]


def test_numbers_survive_to_the_last_bit(tmp_path):
    value = np.float32(0.1) / np.float32(3)
    lines = writers.JsonLines(tmp_path / "m.jsonl", resume_step=0)
    lines.write_scalars(1, {"x": value})
    lines.close()
    (row,) = writers.read_json_lines(tmp_path / "m.jsonl")
    assert np.float32(row["x"]) == value


def test_clus_writer_reaches_both_files(tmp_path):
    writer = writers.open_writers(tmp_path, resume_step=0)
    writer.write_scalars(5, {"loss/total": 1.5})
    writer.write_images(5, {"slices": np.zeros((4, 6, 3), np.uint8)})
    writer.write_texts(0, {"network": "a table"})
    writer.flush()
    writer.close()
    assert writers.read_json_lines(tmp_path / "metrics.jsonl")[0]["loss/total"] == 1.5
    (events,) = (tmp_path / "tensorboard").glob("events*")
    content = events.read_bytes()
    assert b"loss/total" in content
    assert b"slices" in content
    assert b"a table" in content


def test_picture_outlines_the_border_of_a_square():
    contours = np.zeros((1, 8, 8, 1), np.uint8)
    contours[0, 2:6, 2:6] = 1
    batch = {
        "image": np.zeros((1, 8, 8, 1), np.float32),
        "contours": contours,
        "dose": np.ones((1, 8, 8, 1), np.float32),
    }
    outputs = {"contours": np.zeros((1, 8, 8, 1)), "dose": np.zeros((1, 8, 8, 1))}
    image = writers.picture(
        batch, outputs, [(255, 0, 0)], slices=4, head="sigmoid", threshold=0.5
    )
    # CT, reference and predicted contours, reference and predicted dose.
    assert image.shape == (8, 5 * 8, 3)
    red = (image == (255, 0, 0)).all(axis=-1)
    assert red[:, 8:16].sum() == 12  # the border of a 4 x 4 square
    assert not red[:, 16:].any()
    assert image[0, 3 * 8, 0] == int(255 / 1.1)


def test_picture_outlines_the_most_probable_structure_of_a_softmax_head():
    square = np.zeros((1, 8, 8, 1))
    square[0, 2:6, 2:6] = 1
    batch = {"image": np.zeros((1, 8, 8, 1)), "contours": np.zeros((1, 8, 8, 2))}
    outputs = {"contours": np.concatenate([0.4 * square, 0.3 * square], axis=-1)}
    image = writers.picture(
        batch,
        outputs,
        [(255, 0, 0), (0, 255, 0)],
        slices=4,
        head="softmax",
        threshold=0.5,
    )
    red, green = ((image == c).all(axis=-1) for c in ((255, 0, 0), (0, 255, 0)))
    assert red[:, 16:].sum() == 12
    assert not green.any()
