"""What a phantom's tissue is painted on, and the chance in it."""

import dataclasses

import numpy as np

from mtl_jax.sources.phantom import patient_frame


@dataclasses.dataclass
class Canvas:
    """One patient while it is painted, [Z, Y, X]; later shapes cover earlier ones."""

    space: patient_frame.Space
    rng: np.random.Generator
    body: np.ndarray  # bool
    hu: np.ndarray  # float32

    def paint(self, where: np.ndarray, hu: float) -> None:
        self.hu[where & self.body] = hu

    def about(self, *centre: float, sd_mm: float = 2.5) -> np.ndarray:
        """`centre`, displaced for this patient."""
        return np.asarray(centre) + self.rng.normal(0.0, sd_mm, 3)

    def sized(self, *radii: float, spread: float = 0.12) -> np.ndarray:
        """`radii`, changed together and one by one for this patient."""
        both = self.rng.uniform(1 - spread, 1 + spread)
        return np.asarray(radii) * both * self.rng.uniform(0.94, 1.06, len(radii))
