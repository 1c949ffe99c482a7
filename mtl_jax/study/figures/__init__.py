"""Pictures of runs and of studies: PNG files from arrays and rows.

The only package that uses matplotlib, and never its global state.
"""

from mtl_jax.study.figures import (
    colours,
    comparison,
    histogram,
    overlay,
    prediction,
    training,
)

overlay_figure = overlay.overlay_figure
prediction_figure = prediction.prediction_figure
dose_comparison = comparison.dose_comparison
contour_comparison = comparison.contour_comparison
choose_cases = comparison.choose_cases
Case = comparison.Case
dvh_figure = histogram.dvh_figure
training_curves_figure = training.training_curves_figure
training_comparison = training.training_comparison
colour_table = colours.colour_table
