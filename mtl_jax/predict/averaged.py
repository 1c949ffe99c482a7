"""The mean of several trained models, as one model (not in the paper).

Input: where their checkpoints are. Output: the first model, with the others as those
that `trained_model` averages with it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from mtl_jax.core import config as configs
from mtl_jax.core import errors
from mtl_jax.predict import trained_model
from mtl_jax.run import averaging


def describe(paths: Sequence[Path]) -> trained_model.TrainedModel:
    """The model in the first of `paths`; `others` has those in the rest, each once.

    A working directory brings the further ones with which it is evaluated. All are
    used with the first one's evaluation settings.

    Raises:
        CheckpointError: one cannot be read, or cannot be averaged with the first.
    """
    first, *others = (model for path in paths for model in _models(path))
    by_digest: dict[str, trained_model.TrainedModel] = {}
    for other in others:
        reasons = averaging.differences(
            first.config, first.site, other.config, other.site
        )
        if reasons:
            raise errors.CheckpointError(
                f"checkpoint {other.folder} cannot be averaged with {first.folder}: "
                f"{'; '.join(reasons)}"
            )
        if other.digest != first.digest:
            by_digest.setdefault(other.digest, _evaluated_as(other, first))
    return dataclasses.replace(first, others=tuple(by_digest.values()))


def _models(path: Path) -> Iterator[trained_model.TrainedModel]:
    """The model in `path`; of a working directory also those in its evaluate.also."""
    model = trained_model.describe(path)
    yield model
    if not (path / "checkpoints").is_dir() or not (path / "config.json").is_file():
        return
    for name in model.config.evaluate.also:
        try:
            yield trained_model.describe(Path(name).expanduser())
        except errors.CheckpointError as error:
            raise errors.CheckpointError(
                f"{path} is evaluated together with {name} (evaluate.also): {error}. "
                f"For this network alone give {path / 'checkpoints'}"
            ) from error


def _evaluated_as(
    other: trained_model.TrainedModel, first: trained_model.TrainedModel
) -> trained_model.TrainedModel:
    """`other` with the evaluation settings of `first`."""
    settings = configs.flatten(first.config.evaluate)
    flat = configs.flatten(other.config)
    flat |= {f"evaluate.{name}": value for name, value in settings.items()}
    return dataclasses.replace(other, config=configs.unflatten(flat))
