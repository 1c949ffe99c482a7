"""What a process that is not the first has in the place of checkpoints and writers.

It trains like the first one, which alone reads and writes the working directory.
"""

from collections.abc import Mapping
from typing import Any

from mtl_jax.train import checkpoint


class Checkpoints(checkpoint.Checkpoints):
    """Keeps nothing, and knows of none."""

    def __init__(self) -> None:
        """There is no folder."""

    def __exit__(self, *_: object) -> None:
        """There is nothing to close."""

    @property
    def steps(self) -> list[int]:
        """None."""
        return []

    def best_score(self) -> float:
        """Infinite: nothing was validated."""
        return float("inf")

    def save(
        self, step: int, state: Any, run: Mapping[str, Any], score: float | None
    ) -> None:
        """Leave it to the first process."""

    def wait(self) -> None:
        """There is nothing to wait for."""

    def restore(self, like: Any) -> None:
        """None; the first process hands out what it found."""


class Writer:
    """Takes what a run writes of itself, and forgets it."""

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None: ...
    def write_images(self, step: int, images: Mapping[str, Any]) -> None: ...
    def write_texts(self, step: int, texts: Mapping[str, str]) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...
