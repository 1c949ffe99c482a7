"""Checks a configuration, and derives its schedule.

Input: a ConfigDict. Output: the same one, checked and locked, or a ConfigError. `KEYS`
lists every key, its valid values, and whether a run may continue with another value.
The values are in `configs/` alone.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_collections

from mtl_jax.core import errors, note_kinds, records, roles, sites


@dataclasses.dataclass(frozen=True)
class Key:
    """The valid values of a key."""

    expected: str  # a description for the error
    accepts: Callable[[Any], bool]
    shapes_training: bool = True  # False: a run may continue with another value
    # The value that names no file; None: no value of the key does.
    without_files: Any = None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(
    low: float = -math.inf, high: float = math.inf, *, above: bool = False, **kwargs
) -> Key:
    def accepts(value: Any) -> bool:
        inside = _is_number(value) and low <= value <= high and math.isfinite(value)
        return inside and not (above and value == low)

    words = "a finite number"
    if low > -math.inf:
        words = f"a number {'above' if above else 'of at least'} {low:g}"
    if high < math.inf:
        words += f", at most {high:g}"
    return Key(words, accepts, **kwargs)


def _integer(low: int, **kwargs) -> Key:
    def accepts(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= low

    return Key(f"a whole number of at least {low}", accepts, **kwargs)


def _choice(*values: str, **kwargs) -> Key:
    return Key(f"one of {', '.join(values)}", lambda value: value in values, **kwargs)


def _flag(**kwargs) -> Key:
    return Key("True or False", lambda value: isinstance(value, bool), **kwargs)


def _text(**kwargs) -> Key:
    return Key("a text", lambda value: isinstance(value, str) and value != "", **kwargs)


def _path(**kwargs) -> Key:
    return Key(
        "a path, or ''",
        lambda value: isinstance(value, str),
        without_files="",
        **kwargs,
    )


def _several(
    expected: str, is_valid: Callable[[Any], bool], *lengths: int, **kwargs: bool
) -> Key:
    def accepts(value: Any) -> bool:
        fits = isinstance(value, tuple | list) and (
            not lengths or len(value) in lengths
        )
        return fits and len(value) > 0 and all(is_valid(item) for item in value)

    return Key(expected, accepts, **kwargs)


def _names(expected: str, among: Sequence[str] = (), **kwargs: Any) -> Key:
    def accepts(value: Any) -> bool:
        return isinstance(value, tuple | list) and all(
            isinstance(name, str) and name and (not among or name in among)
            for name in value
        )

    return Key(expected, accepts, **kwargs)


def _is_positive_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _divides_a_turn(value: Any) -> bool:
    """Whether `value` is an angle in degrees that divides 360, or 0."""
    if not _is_number(value) or not 0 <= value <= 180:
        return False
    return value == 0 or math.isclose(360 / value, round(360 / value))


KEYS: Mapping[str, Key] = {
    "site": _text(),
    "role": _text(),
    "seed": _integer(0),
    "data.builder": _text(),
    "data.cohort": _text(),
    "data.source": _choice("manual", "phantom"),
    "data.phantom_patients": _several(
        "three numbers of patients", _is_positive_integer, 3
    ),
    "data.phantom_seed": _integer(0),
    "data.workers": _integer(1, shapes_training=False),
    # These change the data set, and a run is bound to its fingerprint.
    "data.refused_patients": _choice("skip", "error", shapes_training=False),
    "data.roi_mapping": _path(shapes_training=False),
    "data.splits_csv": _path(shapes_training=False),
    "data.allow_missing": _flag(shapes_training=False),
    "data.allow_frame_mismatch": _flag(shapes_training=False),
    "data.fill_gaps": _integer(0, shapes_training=False),
    "data.accept": _names(
        f"some of {', '.join(note_kinds.REFUSING)}, or ()", shapes_training=False
    ),
    "data.split_ratio": _several(
        "three parts: training, validation, test",
        lambda v: _is_number(v) and v > 0,
        3,
        shapes_training=False,
    ),
    "data.split_seed": _integer(0, shapes_training=False),
    "data.structures": _several("names of structures", lambda v: isinstance(v, str)),
    "data.prescription_gy": _number(0, above=True),
    "data.ct_values": _choice("stored", "hu"),
    "data.ct_window": _several("two numbers, low and high", _is_number, 2),
    "data.statistics": _choice("paper", "fitted"),
    "data.ct_mean": _number(),
    "data.ct_std": _number(0, above=True),
    "data.image_size": _several(
        "two multiples of 32 (y, x)",
        lambda v: _is_positive_integer(v) and v % 32 == 0,
        2,
    ),
    "data.image_spacing_mm": _number(0),
    "data.skip_empty_slices": _flag(),
    "data.on_device": _flag(shapes_training=False),
    "data.draws": _several(
        "three whole numbers",
        lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0,
        3,
    ),
    "data.ct_second_window": _several("two numbers, low and high", _is_number, 2),
    "data.neighbours": _integer(0),
    "data.neighbour_mm": _number(0),
    "data.target_distance_mm": _number(0),
    "data.contours_from": _path(shapes_training=False),
    "data.contour_folds": _integer(0),
    "data.left_out_fold": _several(
        "a fold and the number of folds", lambda v: isinstance(v, int) and v >= 0, 2
    ),
    "augment.enabled": _flag(),
    "augment.flip": _number(0, 1),
    "augment.rotation_deg": _number(0, 180),
    "augment.rotation_step_deg": Key(
        "0, or an angle in degrees that divides 360", _divides_a_turn
    ),
    "augment.translation_px": _number(0),
    "augment.scale": _number(0, 0.9),
    "augment.ct_noise": _number(0),
    "model.stage_sizes": _several("four numbers of blocks", _is_positive_integer, 4),
    "model.width": _integer(1),
    "model.decoder_widths": _several("five widths", _is_positive_integer, 5),
    "model.cross_gating": _flag(),
    "model.attended_skips": _flag(),
    "model.bottleneck": _flag(),
    "model.bottleneck_width": _integer(1),
    "model.gamma_init": _number(),
    "model.image_skip": _flag(),
    "model.contour_head": _choice("sigmoid", "softmax"),
    "model.pretrained": _text(),
    "model.start_from": _path(),
    "model.dtype": _choice("float32", "bfloat16"),
    "model.remat": _flag(),
    "model.rewrites": _choice("auto", "none"),
    "loss.dice_weight": _number(0),
    "loss.cross_entropy_weight": _number(0),
    "loss.dice_per_sample": _flag(),
    "loss.dice_smooth": _number(0, above=True),
    "loss.dose_region": _choice("possible", "all"),
    "loss.dose_slices": _choice("possible", "all"),
    "loss.dvh_weight": _number(0),
    "dwa.temperature": _number(0, above=True),
    "dwa.interval_steps": _integer(0),
    "optimizer.learning_rate": _number(0, above=True),
    "optimizer.schedule": _choice("constant", "cosine"),
    "optimizer.warmup_steps": _integer(0),
    "optimizer.final_rate": _number(0, 1),
    "optimizer.decay_steps": _integer(0),
    "optimizer.weight_decay": _number(0),
    "optimizer.no_decay": _names("names of modules, or ()"),
    "optimizer.clip_norm": _number(0),
    "optimizer.average_decay": _number(0, 0.999999),
    "optimizer.b1": _number(0, 1),
    "optimizer.b2": _number(0, 1),
    "optimizer.eps": _number(0, above=True),
    "train.batch_size": _integer(1),
    "train.epochs": _integer(0, shapes_training=False),
    "train.steps": _integer(0, shapes_training=False),
    "train.accumulate": _integer(1),
    "train.batch_norm_slices": _integer(0),
    "train.steps_per_call": _integer(1, shapes_training=False),
    "train.backend": _choice("jit", "pmap", shapes_training=False),
    "train.devices": _integer(0, shapes_training=False),
    "train.compiler_options": _choice("default", "tuned", shapes_training=False),
    "train.log_every": _integer(1, shapes_training=False),
    "train.images_every": _integer(0, shapes_training=False),
    "train.validate_every": _integer(0, shapes_training=False),
    "train.checkpoint_every": _integer(0, shapes_training=False),
    "train.trackers": _names(
        "some of mlflow and wandb, or ()", ("mlflow", "wandb"), shapes_training=False
    ),
    "evaluate.splits": _several(
        "some of train, validation, test",
        lambda v: v in records.SPLITS,
        shapes_training=False,
    ),
    "evaluate.checkpoint": _choice("best", "newest", shapes_training=False),
    "evaluate.best_patients": _integer(0, shapes_training=False),
    "evaluate.batch_size": _integer(1, shapes_training=False),
    "evaluate.contour_threshold": _number(0, 1, shapes_training=False),
    "evaluate.apply_possible_dose_mask": _flag(shapes_training=False),
    "evaluate.largest_component": _flag(shapes_training=False),
    "evaluate.mirror": _flag(shapes_training=False),
    "evaluate.also": _names(
        "working directories, or ()", without_files=[], shapes_training=False
    ),
    "evaluate.metrics": _path(shapes_training=False),
}

# Keys that stored configurations of earlier versions may lack, with what these
# versions did.
BEFORE: Mapping[str, Any] = {
    "data.accept": [*note_kinds.REFUSING],  # these versions refused for none of them
    "data.draws": [1, 1, 1],
    "data.on_device": False,
    "model.image_skip": False,
    "data.ct_second_window": [0.0, 0.0],
    "data.neighbours": 0,
    "data.neighbour_mm": 0.0,
    "data.target_distance_mm": 0.0,
    "augment.rotation_step_deg": 0.0,
    "evaluate.best_patients": 0,
    "loss.dose_region": "all",
    "loss.dose_slices": "all",
    "loss.dvh_weight": 0.0,
    "optimizer.schedule": "constant",
    "optimizer.warmup_steps": 0,
    "optimizer.final_rate": 0.0,
    "optimizer.no_decay": [],
    "optimizer.clip_norm": 0.0,
    "optimizer.average_decay": 0.0,
    "evaluate.also": [],
    "model.start_from": "",
    "train.batch_norm_slices": 0,
    "train.compiler_options": "default",
    "train.steps_per_call": 1,
    "train.trackers": [],
}


def completed(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration, with the keys that its version did not know."""
    return {**BEFORE, **flat}


def without_paths(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration that names no file of the machine that it was made on."""
    empty = {key: rule.without_files for key, rule in KEYS.items()}
    changed = {
        key: value if empty.get(key) is None else empty[key]
        for key, value in flat.items()
    }
    if changed.get("model.pretrained") not in ("auto", "none"):
        changed["model.pretrained"] = "none"
    return changed


def flatten(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """All values by dotted key; tuples become lists, as in JSON."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            flat |= {f"{name}.{key}": inner for key, inner in flatten(value).items()}
        else:
            flat[name] = list(value) if isinstance(value, tuple) else value
    return flat


def unflatten(flat: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """The inverse of `flatten`, for a stored configuration: see `completed`."""
    config = ml_collections.ConfigDict()
    for dotted, value in completed(flat).items():
        part = config
        *groups, name = dotted.split(".")
        for group in groups:
            if group not in part:
                part[group] = ml_collections.ConfigDict()
            part = part[group]
        part[name] = tuple(value) if isinstance(value, list) else value
    return config


def check(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Return `config`, locked, if every key is known and every value fits.

    Raises:
        ConfigError: it names the key, its value and the expected values.
    """
    flat = flatten(config)
    for key, value in flat.items():
        if key not in KEYS:
            raise errors.ConfigError(f"unknown key {key}{errors.nearest(key, KEYS)}")
        if not KEYS[key].accepts(value):
            raise errors.ConfigError(f"{key} is {value!r}: give {KEYS[key].expected}")
    if missing := [key for key in KEYS if key not in flat]:
        raise errors.ConfigError(f"keys without a value: {', '.join(missing)}")
    _check_together(config)
    config.lock()
    return config


def _check_together(config: ml_collections.ConfigDict) -> None:
    """Check the values that depend on each other."""
    role = roles.get(config.role)
    site = sites.get(config.site)
    for name in config.data.structures:
        site.structure(name)
    if len(set(config.data.structures)) < len(config.data.structures):
        raise errors.ConfigError(f"data.structures repeats: {config.data.structures}")
    low, high = config.data.ct_window
    if low >= high:
        raise errors.ConfigError(
            f"data.ct_window is ({low}, {high}): give the lower limit first"
        )
    low, high = config.data.ct_second_window
    if low >= high and (low, high) != (0, 0):
        raise errors.ConfigError(
            f"data.ct_second_window is ({low}, {high}): give the lower limit first, or "
            "(0, 0) for none"
        )
    if config.loss.dice_weight + config.loss.cross_entropy_weight == 0:
        raise errors.ConfigError("both weights of the contour loss are 0")
    if config.train.batch_size % config.train.accumulate:
        raise errors.ConfigError(
            f"train.batch_size {config.train.batch_size} cannot be split into "
            f"train.accumulate = {config.train.accumulate} equal parts"
        )
    group = config.train.batch_norm_slices or 1
    if config.train.batch_size // config.train.accumulate % group:
        raise errors.ConfigError(
            f"train.batch_norm_slices is {group}, which does not divide the "
            f"{config.train.batch_size // config.train.accumulate} slices of "
            "train.batch_size / train.accumulate: give a divisor, or 0 for all of them"
        )
    contoured = "contours" in role.tasks or role.input.by_structure
    if config.evaluate.mirror and contoured:
        site.mirrored(tuple(config.data.structures))
    fold, folds = config.data.left_out_fold
    if fold >= max(folds, 1) or folds == 1:
        raise errors.ConfigError(
            f"data.left_out_fold is ({fold}, {folds}): give (k, n) with k below n and "
            "n at least 2, or (0, 0) to use all patients"
        )
    if config.data.contour_folds == 1:
        raise errors.ConfigError("data.contour_folds is 1: give 0, or at least 2")
    if not any(config.data.draws):
        raise errors.ConfigError("data.draws is 0 for every slice: give one above 0")
    if config.train.epochs == 0 and config.train.steps == 0:
        raise errors.ConfigError("train.epochs and train.steps are both 0: set one")


def differences(
    config: ml_collections.ConfigDict, earlier: Mapping[str, Any]
) -> list[str]:
    """Descriptions of the keys that shape training and differ from an earlier run.

    A run may be made longer, so its cosine may end later, but it must stay a cosine.
    """
    now, earlier = flatten(config), completed(earlier)
    free = {key for key, rule in KEYS.items() if not rule.shapes_training}
    if _has_cosine(now) and _has_cosine(earlier):
        free |= {"optimizer.schedule", "optimizer.decay_steps"}
    return [
        f"{key} was {earlier.get(key)!r}, is {now.get(key)!r}"
        for key in sorted((set(now) | set(earlier)) - free)
        if now.get(key) != earlier.get(key)
    ]


def _has_cosine(flat: Mapping[str, Any]) -> bool:
    """Whether the learning rate falls along a cosine."""
    decays = flat.get("optimizer.decay_steps", 0) > 0
    return decays or flat["optimizer.schedule"] == "cosine"


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Intervals and length of a run in steps, each at least 1."""

    steps: int
    cosine_steps: int  # step at which the learning rate's cosine ends; 0: no cosine
    epoch_steps: int
    dwa_interval: int
    log_every: int
    images_every: int
    validate_every: int
    checkpoint_every: int
    steps_per_call: int = 1

    def next_call(self, made: int) -> int:
        """How many steps the next call makes after `made`: `steps_per_call`, or 1.

        Nothing may happen between the steps of a call. It begins at a multiple of their
        number, so that runs that were stopped make the same calls as others.
        """
        count = self.steps_per_call
        intervals = (
            *(self.log_every, self.images_every),
            *(self.validate_every, self.checkpoint_every),
        )
        ends = (made // every * every + every for every in intervals)
        fits = made % count == 0 and made + count <= min(self.steps, *ends)
        return count if fits else 1

    @classmethod
    def of(cls, config: ml_collections.ConfigDict, epoch_steps: int) -> "Schedule":
        """The schedule of `config` if an epoch has `epoch_steps` batches.

        Raises:
            ConfigError: the warm-up leaves no step for the cosine.
        """
        train, optimizer = config.train, config.optimizer
        steps = train.steps or train.epochs * epoch_steps
        cosine_steps = steps if optimizer.schedule == "cosine" else 0
        cosine_steps = optimizer.decay_steps or cosine_steps
        if 0 < cosine_steps <= optimizer.warmup_steps:
            raise errors.ConfigError(
                f"optimizer.warmup_steps is {optimizer.warmup_steps}, but the cosine "
                f"of the learning rate ends at step {cosine_steps}: give fewer"
            )
        return cls(
            steps=steps,
            cosine_steps=cosine_steps,
            epoch_steps=epoch_steps,
            dwa_interval=config.dwa.interval_steps or epoch_steps,
            log_every=train.log_every,
            images_every=train.images_every or epoch_steps,
            validate_every=train.validate_every or epoch_steps,
            checkpoint_every=train.checkpoint_every or epoch_steps,
            steps_per_call=train.steps_per_call,
        )
