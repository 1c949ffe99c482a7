"""All keys of a run, with the values that the sites share.

Output: a configuration. It describes the whole run: the package has no defaults of its
own. `mtl_jax/core/config.py` checks the keys, their types and their ranges.
"""

import ml_collections


def flip_only(config: ml_collections.ConfigDict) -> None:
    """Turn augmentation on, with left-right flips only."""
    config.augment.enabled = True
    config.augment.rotation_deg = 0.0
    config.augment.translation_px = 0.0
    config.augment.scale = 0.0
    config.augment.ct_noise = 0.0


def small_on_phantoms(config: ml_collections.ConfigDict, *, steps: int) -> None:
    """Set a small network on generated patients that trains in minutes.

    The CT window is a soft-tissue window in Hounsfield units, and pixels are 5 mm wide.
    The network starts from random weights. Because it is small, its learning rate is
    larger, and falls to 0 at the last step.
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
    config.model.rewrites = "none"  # no gain in narrow networks; compiles faster
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "cosine"
    config.train.epochs = 0
    config.train.steps = steps
    config.train.log_every = 50
    config.train.checkpoint_every = 500
    config.train.validate_every = steps
    config.train.images_every = steps
    config.evaluate.checkpoint = "newest"


def get_config() -> ml_collections.ConfigDict:
    """All keys; the file of a site overrides some of them."""
    config = ml_collections.ConfigDict()

    # The treatment site: a name in core/sites, or the path of a site file.
    config.site = "openkbp"
    # The role (core/roles) determines the network's inputs and outputs.
    config.role = "multi"
    # Seed of all random numbers: initial weights, order of examples, augmentation.
    config.seed = 0

    config.data = data = ml_collections.ConfigDict()
    # The TFDS builder, a folder in tfds_builders/.
    data.builder = "openkbp"
    # The cohort, a configuration of the builder.
    data.cohort = "paper"
    # Source of the raw patients: "manual" is manual_dir or else the public archive,
    # "phantom" generates patients.
    data.source = "manual"
    # Generated patients for training, validation and test.
    data.phantom_patients = (24, 4, 8)
    # Seed of the generated patients.
    data.phantom_seed = 0
    # Processes that read raw files while the data set is built.
    data.workers = 2
    # For DICOM patients that cannot be read, "skip" leaves them out and "error" stops
    # the build.
    data.refused_patients = "skip"
    # File that maps ROI names to structures; "" is mapping.yaml in manual_dir, if
    # present.
    data.roi_mapping = ""
    # File that assigns patients to splits; "" is splits.csv in manual_dir, if present.
    data.splits_csv = ""
    # Accept patients that lack an ROI for a structure that networks contour.
    data.allow_missing = False
    # Accept contours and dose whose frame of reference is not the CT's, and take their
    # coordinates as the CT's.
    data.allow_frame_mismatch = False
    # Largest gap, in slices, that is filled between two contours of an ROI.
    data.fill_gaps = 0
    # Reasons, by name, for which DICOM patients are not refused (core/note_kinds.py),
    # such as high_dose (not in the paper).
    data.accept = ()
    # Ratio of training, validation and test patients, used without a splits_csv.
    data.split_ratio = (95, 5, 10)
    # Seed of the division by split_ratio.
    data.split_seed = 0
    # Structures to contour, in the order of the network's channels.
    data.structures = ("Brainstem", "SpinalCord", "LeftParotid", "RightParotid")
    # The prescription in Gy, by which the dose is divided.
    data.prescription_gy = 70.0
    # CT values: "stored" as in the data set, or "hu" for Hounsfield units.
    data.ct_values = "stored"
    # Window to which CT values are clipped, in the unit of ct_values.
    data.ct_window = (-1024.0, 1500.0)
    # CT normalisation: "paper" uses ct_mean and ct_std, "fitted" those of the training
    # split.
    data.statistics = "paper"
    # Mean of the clipped CT values, used with statistics "paper".
    data.ct_mean = 85.18
    # Standard deviation of the clipped CT values, used with statistics "paper".
    data.ct_std = 282.26
    # Size (y, x) of the network's image in pixels, multiples of 32 (not in the paper).
    data.image_size = (128, 128)
    # In-plane pixel spacing of the network's image in mm; 0 keeps the CT's (not in the
    # paper).
    data.image_spacing_mm = 0.0
    # Train without the slices that show no body (not in the paper).
    data.skip_empty_slices = True
    # Times that a training slice is drawn in an epoch: one that shows neither a
    # possible dose nor a structure to contour, one that shows a possible dose, one that
    # shows a structure; the largest counts (not in the paper).
    data.draws = (1, 1, 1)
    # Second window to which CT values are clipped, in the unit of ct_values, as one
    # more channel scaled to [-1, 1]; (0, 0) leaves it out (not in the paper).
    data.ct_second_window = (0.0, 0.0)
    # Neighbouring slices on each side whose CT is given as further channels; beyond the
    # ends of the CT the last slice is repeated (not in the paper).
    data.neighbours = 0
    # Distance in mm from one neighbour to the next, of which the nearest slice is
    # taken; 0 takes the adjacent slices (not in the paper).
    data.neighbour_mm = 0.0
    # Signed distance to the targets' surface (3D, outside positive), divided by this
    # length in mm, as one more channel for roles that see the targets; 0 leaves it out
    # (not in the paper).
    data.target_distance_mm = 0.0
    # Keep all training slices on every device, as they are stored, and make the batches
    # there, with their random changes (not in the paper).
    data.on_device = False
    # For role seq_auto, the workdir of the `contour` run that predicts its input
    # contours; "" is the folder `contour` beside its own workdir.
    data.contours_from = ""
    # For role seq_auto: with 0, the `contour` run also predicts the contours of its own
    # training patients, as in the paper; with n, run `<contours_from>-fold<k>of<n>`
    # predicts those of fold k, on which it was not trained (not in the paper).
    data.contour_folds = 0
    # Train without fold k of n of the training patients, as (k, n); (0, 0) uses all.
    data.left_out_fold = (0, 0)

    config.augment = augment = ml_collections.ConfigDict()
    # Change the training images at random (not in the paper).
    augment.enabled = False
    # Probability of a left-right flip, which also swaps paired structures.
    augment.flip = 0.5
    # Largest rotation in degrees, in either direction.
    augment.rotation_deg = 10.0
    # Also rotate by a random multiple of this angle, such as the angle between beams; 0
    # does not (not in the paper).
    augment.rotation_step_deg = 0.0
    # Largest shift in pixels, along each axis and in either direction.
    augment.translation_px = 8.0
    # Largest relative change of size, in either direction.
    augment.scale = 0.1
    # Standard deviation of the noise added to the normalised CT.
    augment.ct_noise = 0.02

    config.model = model = ml_collections.ConfigDict()
    # Bottleneck blocks in each stage of the ResNet; these values are ResNet-50.
    model.stage_sizes = (3, 4, 6, 3)
    # Width of the first stage of the ResNet, in channels.
    model.width = 64
    # Channels of the decoder's five blocks (not in the paper).
    model.decoder_widths = (256, 128, 64, 32, 16)
    # Gate the features of each task with the other task's mask, in role multi (not in
    # the paper; docs/explanation/network.md).
    model.cross_gating = True
    # Give the decoders attended features through their skips (not in the paper).
    model.attended_skips = True
    # Use the cross-task attention bottleneck, in role multi (not in the paper).
    model.bottleneck = True
    # Width of the cross-task attention bottleneck, in channels (not in the paper).
    model.bottleneck_width = 256
    # Initial value of the bottleneck's residual scale gamma; at 0 the bottleneck gets
    # no gradient at first (not in the paper).
    model.gamma_init = 0.1
    # Give the decoder's last block the image as a skip (not in the paper).
    model.image_skip = False
    # Contour output: "sigmoid" lets structures overlap, "softmax" gives each voxel its
    # most probable label, or background.
    model.contour_head = "sigmoid"
    # ImageNet weights of the encoder: "auto", "none", or the path of a file.
    model.pretrained = "auto"
    # Working directory or checkpoint of ours, or name of a packaged network, whose
    # weights the network starts from, in place of pretrained; what does not fit starts
    # anew (not in the paper).
    model.start_from = ""
    # Arithmetic of the network, "float32" or "bfloat16"; parameters stay float32.
    model.dtype = "float32"
    # Recompute activations in the backward pass, which saves memory and takes time.
    model.remat = False
    # Faster forms of operations, equal up to rounding: "auto" uses those that run
    # faster on the device, "none" uses none.
    model.rewrites = "auto"

    config.loss = loss = ml_collections.ConfigDict()
    # Weight of the Dice loss in the contour loss.
    loss.dice_weight = 0.3
    # Weight of the cross-entropy in the contour loss.
    loss.cross_entropy_weight = 0.7
    # Compute the Dice loss per slice instead of over the whole batch (not in the
    # paper).
    loss.dice_per_sample = False
    # Constant added to the Dice loss's numerator and denominator (not in the paper).
    loss.dice_smooth = 1e-5
    # Voxels that count in the dose loss: "possible" for those where a dose is possible,
    # as the dose is scored (all voxels of a patient in whom that is not known), or
    # "all" (not in the paper).
    loss.dose_region = "possible"
    # Slices that count in the dose loss: "possible" for those with a voxel where a dose
    # is possible, or "all"; makes a difference with dose_region "all" only (not in the
    # paper).
    loss.dose_slices = "possible"
    # Weight, beside the absolute error of the dose, of the area between the DVHs of
    # predicted and planned dose of each structure in a slice (not in the paper).
    loss.dvh_weight = 0.0

    config.dwa = dwa = ml_collections.ConfigDict()
    # Softmax temperature of the dynamic weight average (Liu et al. 2019).
    dwa.temperature = 2.0
    # Steps between changes of the task weights; 0 is once per epoch.
    dwa.interval_steps = 0

    config.optimizer = optimizer = ml_collections.ConfigDict()
    # Learning rate of Adam, the highest one if it changes.
    optimizer.learning_rate = 1e-4
    # Course of the learning rate: "constant", or "cosine", which falls until the last
    # step of the run (not in the paper).
    optimizer.schedule = "constant"
    # Steps over which the learning rate rises at the start (not in the paper).
    optimizer.warmup_steps = 0
    # Learning rate at the end of the cosine, as a part of learning_rate (not in the
    # paper).
    optimizer.final_rate = 0.0
    # Step at which the cosine ends, whatever schedule says; 0 ends it with the run (not
    # in the paper).
    optimizer.decay_steps = 0
    # L2 weight decay, added to the gradient of the parameters as in torch's Adam.
    optimizer.weight_decay = 1e-5
    # Modules of the network whose parameters are not decayed, by name (not in the
    # paper; docs/explanation/network.md).
    optimizer.no_decay = ("bottleneck",)
    # Largest norm of the gradient of all parameters together; a larger one is scaled
    # down to it, 0 scales none (not in the paper).
    optimizer.clip_norm = 0.0
    # Decay rate of an average of the weights over the steps, with which the network is
    # validated and predicts; 0 takes the weights themselves (not in the paper).
    optimizer.average_decay = 0.0
    # Decay rate of Adam's first moment.
    optimizer.b1 = 0.9
    # Decay rate of Adam's second moment.
    optimizer.b2 = 0.999
    # Constant in the denominator of Adam's update.
    optimizer.eps = 1e-8

    config.train = train = ml_collections.ConfigDict()
    # Slices per training step, over all devices.
    train.batch_size = 8
    # Epochs over the training slices, used if steps is 0 (not in the paper).
    train.epochs = 100
    # Training steps; 0 trains for `epochs` instead (not in the paper).
    train.steps = 0
    # Parts into which a batch is split; their gradients are averaged.
    train.accumulate = 1
    # Slices that share their batch-norm statistics in training: as many as a device
    # has, or a multiple for groups of devices; 0 for the whole batch (not in the paper;
    # docs/how-to/train-on-many-devices.md).
    train.batch_norm_slices = 0
    # How a step runs on several devices: "jit" (sharded over a mesh) or "pmap".
    train.backend = "jit"
    # Devices to train on; 0 uses all.
    train.devices = 0
    # Options of XLA for the training step on GPUs and TPUs: "default", or "tuned" for
    # those that NVIDIA and Google recommend (not in the paper;
    # docs/reference/compiler-options.md).
    train.compiler_options = "default"
    # Steps between log lines.
    train.log_every = 10
    # Steps between pictures; 0 is once per epoch.
    train.images_every = 0
    # Steps between validations; 0 is once per epoch.
    train.validate_every = 0
    # Steps between checkpoints; 0 is once per epoch.
    train.checkpoint_every = 0
    # Steps that the device makes in one call, where nothing else is due between them;
    # it waits less for the host. More than 1 needs the backend jit, and should go with
    # data.on_device: else the images of all these steps are transferred at once.
    train.steps_per_call = 1
    # Experiment trackers that get what is logged: "mlflow", "wandb".
    train.trackers = ()

    config.evaluate = evaluate = ml_collections.ConfigDict()
    # Splits to predict and score after training.
    evaluate.splits = ("test",)
    # Checkpoint to evaluate: "best" on the validation split, or "newest" (not in the
    # paper).
    evaluate.checkpoint = "best"
    # Validation patients, evenly spread over the split, on whose volumes the best
    # checkpoint is chosen: by each task's error over its yardstick's. 0 chooses it by
    # the sum of the validation losses (not in the paper).
    evaluate.best_patients = 8
    # Slices per batch in validation and evaluation, over all devices.
    evaluate.batch_size = 16
    # Lowest probability at which a voxel belongs to a structure; means nothing for a
    # softmax head (not in the paper).
    evaluate.contour_threshold = 0.5
    # Set the predicted dose to 0 outside the possible-dose mask, if there is one.
    evaluate.apply_possible_dose_mask = True
    # Keep only the largest connected component of a contour (not in the paper).
    evaluate.largest_component = False
    # Average each prediction with that for the mirror image (not in the paper).
    evaluate.mirror = False
    # Working directories of further runs of the same role whose predictions are
    # averaged with this one's (not in the paper).
    evaluate.also = ()
    # TOML or YAML file that chooses the reported metrics; "" is the site's default.
    evaluate.metrics = ""
    return config
