"""What is wrong with a prediction by its own values alone.

Input: a prediction and its model. Output: short sentences, for the screen, the picture
and statistics.json. The files are written all the same.
"""

from collections.abc import Iterator

from mtl_jax.core import records
from mtl_jax.predict import trained_model

# A plan's highest dose is above its prescription. Where a CT shows only tissue beside
# the target it is less; below this part, nothing was predicted.
LEAST_OF_PRESCRIPTION = 0.5


def failures(
    prediction: records.PredictedVolumes, model: trained_model.TrainedModel
) -> list[str]:
    """The sentences; none if the prediction has contours and a dose of usual height."""
    return [*_empty_contours(prediction), *_low_dose(prediction, model)]


def _empty_contours(prediction: records.PredictedVolumes) -> Iterator[str]:
    empty = [name for name, mask in prediction.contours.items() if not mask.any()]
    if empty and len(empty) == len(prediction.contours):
        yield "the network drew no contour"
    elif empty:
        yield f"the network drew no {', '.join(empty)}"


def _low_dose(
    prediction: records.PredictedVolumes, model: trained_model.TrainedModel
) -> Iterator[str]:
    if prediction.dose_gy is None:
        return
    highest_gy = float(prediction.dose_gy.max())
    prescribed_gy = model.config.data.prescription_gy
    if not highest_gy >= LEAST_OF_PRESCRIPTION * prescribed_gy:
        yield f"the highest dose is {highest_gy:.2g} Gy of {prescribed_gy:g} prescribed"
