"""Who wrote an exported object: the model, and what must be said of it everywhere."""

import dataclasses

# 34 characters: it fits into every attribute that holds text, except the short ones.
NOTICE = "AI-generated, not for clinical use"


@dataclasses.dataclass(frozen=True)
class Author:
    """Which model wrote an object."""

    model: str  # such as 'multi (openkbp)'
    version: str  # of this package
    checkpoint: str  # digest of the checkpoint's contents

    @property
    def statement(self) -> str:
        """The notice, and where the object comes from."""
        return (
            f"{NOTICE}. Predicted by mtl_jax {self.version}, model {self.model}, "
            f"checkpoint {self.checkpoint}."
        )
