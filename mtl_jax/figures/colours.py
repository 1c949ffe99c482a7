"""The colours that the figures and the report share."""

from collections.abc import Sequence

import matplotlib
import numpy as np

DOSE_MAP, ERROR_MAP = "turbo", "berlin"
BACKGROUND, INK, FAINT_INK = "#101214", "#e8e8e8", "#9aa0a6"
# Okabe and Ito's palette, safe for colour-blind readers; one colour per task or run.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#666666")

Rgb = tuple[float, float, float]


def colour_table(name: str) -> np.ndarray:
    """The 256 colours of a matplotlib map, [256, 3] uint8."""
    table = matplotlib.colormaps[name](np.arange(256))[:, :3]
    return np.round(table * 255).astype(np.uint8)


def on_white(colour: Sequence[int]) -> Rgb:
    """A structure's colour (0 to 255), darkened for a line on white; returns 0 to 1.

    The hue stays. The luminance (WCAG 2) is at most 0.3, a contrast of 3 with white.
    """
    channels = np.asarray(colour) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92,
                      ((channels + 0.055) / 1.055) ** 2.4)  # fmt: skip
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    linear *= min(1.0, 0.3 / max(luminance, 1e-9))
    channels = np.where(linear <= 0.0031308, linear * 12.92,
                        1.055 * linear ** (1 / 2.4) - 0.055)  # fmt: skip
    red, green, blue = np.clip(channels, 0, 1).tolist()
    return red, green, blue
