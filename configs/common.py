"""Every key of a run, with the values that the sites share.

A configuration is the whole run: nothing in the package has a default of its own. The
keys, their types and their ranges are checked by `mtl_jax/core/config.py`.
"""

import ml_collections


def flip_only(config: ml_collections.ConfigDict) -> None:
    """Swap left and right half of the time, and change nothing else."""
    config.augment.enabled = True
    config.augment.rotation_deg = 0.0
    config.augment.translation_px = 0.0
    config.augment.scale = 0.0
    config.augment.ct_noise = 0.0


def small_on_phantoms(config: ml_collections.ConfigDict, *, steps: int) -> None:
    """A small network on generated patients, from random weights: minutes.

    The phantoms are seen in a soft-tissue window of Hounsfield units, on pixels of
    5 mm; a network this small takes a larger learning rate, which falls to 0.
    """
    config.data.source = "phantom"
    config.data.cohort = "phantom"
    config.data.ct_window = (-160.0, 240.0)
    config.data.image_spacing_mm = 5.0
    flip_only(config)
    config.model.stage_sizes = (2, 2, 2, 2)
    config.model.width = 8
    config.model.decoder_widths = (32, 32, 24, 16, 16)
    config.model.bottleneck_width = 32
    config.model.pretrained = "none"
    config.model.rewrites = "none"  # too narrow to gain; compiles faster
    config.optimizer.learning_rate = 3e-3
    config.optimizer.decay_steps = steps
    config.train.epochs = 0
    config.train.steps = steps
    config.train.log_every = 50
    config.train.checkpoint_every = 500
    config.train.validate_every = steps
    config.train.images_every = steps
    config.evaluate.checkpoint = "newest"


def get_config() -> ml_collections.ConfigDict:
    """All keys; a site's file sets what is its own."""
    config = ml_collections.ConfigDict()

    # The treatment site (core/sites, or the path of a site file) and the row of the
    # comparison (core/roles).
    config.site = "openkbp"
    config.role = "multi"
    # The one root of all chance: initial weights, order of the examples, augmentation.
    config.seed = 0

    config.data = data = ml_collections.ConfigDict()
    # The TFDS builder (a folder of tfds_builders/) and its cohort.
    data.builder = "openkbp"
    data.cohort = "paper"
    # Where the raw patients come from: "manual" (manual_dir, or the public archive), or
    # "phantom": so many generated patients for training, validation and test.
    data.source = "manual"
    data.phantom_patients = (24, 4, 8)
    data.phantom_seed = 0
    # Processes that read raw files when the data set is built.
    data.workers = 2
    # Builders dicom and prostate: patients that cannot be read are left out
    # ("skip"), or end the build ("error").
    data.refused_patients = "skip"
    # Files that say which ROI is which structure, and who is in which split; "":
    # mapping.yaml and splits.csv in the manual_dir, if they are there.
    data.roi_mapping = ""
    data.splits_csv = ""
    # Take patients in whom no ROI has the name of a structure that networks contour.
    data.allow_missing = False
    # Take contours and dose in the CT's coordinates although their frame of reference
    # is another one, or none.
    data.allow_frame_mismatch = False
    # Slices that are filled where an ROI has contours above and below, but none there.
    data.fill_gaps = 0
    # How patients are divided into training, validation and test where no splits.csv
    # does it, and the seed of that.
    data.split_ratio = (95, 5, 10)
    data.split_seed = 0
    # Structures that are contoured, in the order of the network's channels.
    data.structures = ("Brainstem", "SpinalCord", "LeftParotid", "RightParotid")
    # The dose is divided by this, in Gy.
    data.prescription_gy = 70.0
    # "stored": CT values as the data set has them; "hu": Hounsfield units.
    data.ct_values = "stored"
    # CT values are clipped to this window ...
    data.ct_window = (-1024.0, 1500.0)
    # ... and normalised with ct_mean and ct_std ("paper") or with the training split's
    # own ("fitted").
    data.statistics = "paper"
    data.ct_mean = 85.18
    data.ct_std = 282.26
    # Pixels of the network's image (y, x), multiples of 32; in-plane spacing in mm,
    # 0 for the CT's own (not in the paper).
    data.image_size = (128, 128)
    data.image_spacing_mm = 0.0
    # Leave slices without a body out of training (not in the paper).
    data.skip_empty_slices = True
    # `seq_auto`: the working directory of the `contour` run whose contours go in; "":
    # the one beside its own. 0: that run draws the training patients too, which it was
    # trained on, as in the paper; n: each n-th of them is drawn by a run that was
    # trained without it, in <contours_from>-fold<k>of<n> (not in the paper).
    data.contours_from = ""
    data.contour_folds = 0
    # Leave out the k-th of n folds of the training patients: (k, n); (0, 0): nobody.
    data.left_out_fold = (0, 0)

    config.augment = augment = ml_collections.ConfigDict()
    # Random changes of the training images (not in the paper).
    augment.enabled = False
    # Chance of a left-right flip; structures that have a mirror swap names.
    augment.flip = 0.5
    # Largest rotation in degrees, shift in pixels, relative change of size.
    augment.rotation_deg = 10.0
    augment.translation_px = 8.0
    augment.scale = 0.1
    # Standard deviation of noise on the normalised CT.
    augment.ct_noise = 0.02

    config.model = model = ml_collections.ConfigDict()
    # ResNet-50: bottleneck blocks of each stage, and width of the first stage.
    model.stage_sizes = (3, 4, 6, 3)
    model.width = 64
    # Channels of the decoder's five blocks (not in the paper).
    model.decoder_widths = (256, 128, 64, 32, 16)
    # Attention (not in the paper; docs/explanation/network.md): whose mask gates whose
    # features, what the decoders' skips carry, and the cross-task bottleneck.
    model.cross_gating = True
    model.attended_skips = True
    model.bottleneck = True
    model.bottleneck_width = 256
    # Start of the bottleneck's residual scale.
    model.gamma_init = 0.0
    # "sigmoid": structures may overlap; "softmax": one label a voxel, and background.
    model.contour_head = "sigmoid"
    # ImageNet weights of the encoder: "auto", "none", or the path of a file.
    model.pretrained = "auto"
    # Arithmetic of the network: "float32" or "bfloat16" (parameters stay float32).
    model.dtype = "float32"
    # Recompute activations in the backward pass: less memory, more time.
    model.remat = False
    # Operations in other forms, equal to rounding: "auto", what pays on this device, or
    # "none".
    model.rewrites = "auto"

    config.loss = loss = ml_collections.ConfigDict()
    # Combo loss of the contours.
    loss.dice_weight = 0.3
    loss.cross_entropy_weight = 0.7
    # Dice over the whole batch, or for each slice (not in the paper).
    loss.dice_per_sample = False
    # Added to the Dice loss's numerator and denominator (not in the paper).
    loss.dice_smooth = 1e-5

    config.dwa = dwa = ml_collections.ConfigDict()
    # Dynamic weight average: softmax temperature (Liu et al. 2019), and the steps after
    # which weights change; 0: once an epoch.
    dwa.temperature = 2.0
    dwa.interval_steps = 0

    config.optimizer = optimizer = ml_collections.ConfigDict()
    # Adam; the decay is added to the gradient, on all parameters, as torch's Adam does.
    optimizer.learning_rate = 1e-4
    # Steps over which the learning rate falls to 0 along a cosine (not in the paper);
    # 0: it is constant.
    optimizer.decay_steps = 0
    optimizer.weight_decay = 1e-5
    optimizer.b1 = 0.9
    optimizer.b2 = 0.999
    optimizer.eps = 1e-8

    config.train = train = ml_collections.ConfigDict()
    train.batch_size = 8
    # Epochs over the training slices (not in the paper); steps > 0 overrides them.
    train.epochs = 100
    train.steps = 0
    # Batches are split into this many parts whose gradients are averaged.
    train.accumulate = 1
    # "jit" (sharded over a mesh) or "pmap", over `devices` devices; 0: all there are.
    train.backend = "jit"
    train.devices = 0
    # Steps between log lines, pictures, validations and checkpoints; 0: once an epoch.
    train.log_every = 10
    train.images_every = 0
    train.validate_every = 0
    train.checkpoint_every = 0

    config.evaluate = evaluate = ml_collections.ConfigDict()
    # The splits that are predicted and scored after training.
    evaluate.splits = ("test",)
    # Which checkpoint is evaluated: "best" on the validation split, or "newest" (not in
    # the paper).
    evaluate.checkpoint = "best"
    # Slices a batch in validation and evaluation.
    evaluate.batch_size = 16
    # A voxel belongs to a structure from this probability on (not in the paper).
    evaluate.contour_threshold = 0.5
    # Set the predicted dose to zero where no dose is possible, if that is known.
    evaluate.apply_possible_dose_mask = True
    # Keep the largest piece of a contour only (not in the paper).
    evaluate.largest_component = False
    # Average with the prediction for the mirror image (not in the paper).
    evaluate.mirror = False
    # A file that says which metrics are reported, in TOML or YAML; "": the site's own.
    evaluate.metrics = ""
    return config
