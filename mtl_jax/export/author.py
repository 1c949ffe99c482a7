"""The model that wrote an exported object, and the notice that every object carries.

Input: the name, version and checkpoint of a model. Output: an Author with a statement.
"""

import dataclasses

# 34 characters: it fits into the text attributes that hold it (ST, LO and LT).
NOTICE = "AI-generated, not for clinical use"


@dataclasses.dataclass(frozen=True)
class Author:
    """The model that wrote an object."""

    model: str  # such as 'multi (openkbp)'
    version: str  # of this package
    checkpoint: str  # digest of the checkpoint's contents

    @property
    def statement(self) -> str:
        """The notice, followed by the package, model and checkpoint."""
        return (
            f"{NOTICE}. Predicted by mtl_jax {self.version}, model {self.model}, "
            f"checkpoint {self.checkpoint}."
        )
