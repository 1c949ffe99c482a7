"""The model that wrote an exported object, and the notice that every object carries.

Input: the name, version and checkpoints of a model. Output: an Author with a statement.
"""

import dataclasses

# 34 characters: it fits into the text attributes that hold it (ST, LO and LT).
NOTICE = "AI-generated, not for clinical use"


@dataclasses.dataclass(frozen=True)
class Author:
    """The model that wrote an object."""

    model: str  # such as 'multi (openkbp)'
    version: str  # of this package
    checkpoints: tuple[str, ...]  # digests of their contents; of several, the mean

    @property
    def statement(self) -> str:
        """The notice, followed by the package, model and checkpoints."""
        noun = "checkpoint" if len(self.checkpoints) == 1 else "mean of checkpoints"
        return (
            f"{NOTICE}. Predicted by mtl_jax {self.version}, model {self.model}, "
            f"{noun} {', '.join(self.checkpoints)}."
        )
