"""One run: the parts of the package, put together as the configuration says.

Input: a checked configuration and prepared data. Output: the network, preprocessing,
batches and step of the run, and its training. The parts themselves know neither each
other nor the configuration. `make_network` and `make_preprocess` also serve `predict`.
"""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from clu import parameter_overview

from mtl_jax.core import config as configs
from mtl_jax.core import roles, sites
from mtl_jax.datasets import prepared
from mtl_jax.losses import objective
from mtl_jax.models import layers, networks, parameters, pretrained
from mtl_jax.models.fast import rewrites
from mtl_jax.pipeline import augment, batches, draws, preprocess, resident
from mtl_jax.run import (
    contour_runs,
    ct_statistics,
    input_volumes,
    learning_rate,
    starting_weights,
    training_data,
    validation_score,
    workdir,
)
from mtl_jax.train import checkpoint, distributed, module_rms, parallel, step, writers
from mtl_jax.train import loop as loops
from mtl_jax.train import resident as residents
from mtl_jax.train import state as states

logger = logging.getLogger(__name__)

INITIAL_RMS = "initial_rms.json"


def check(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """As `core.config.check`; the role's network checks `config.model` too.

    Raises:
        ConfigError: names the key, what it holds, what it may hold.
    """
    checked = configs.check(config)
    role = roles.get(checked.role)
    networks.check(
        role.network,
        checked.model,
        tasks=role.tasks,
        structures=len(checked.data.structures),
    )
    return checked


def make_network(
    config: ml_collections.ConfigDict, axis_name: str | None, platform: str = ""
) -> networks.Network:
    """The network of a configuration, for the backend's `axis_name` and `platform`.

    The platform of JAX's first device by default.
    """
    role, model = roles.get(config.role), config.model
    forms = rewrites.PLAIN
    if model.rewrites == "auto":
        forms = rewrites.for_platform(platform or jax.default_backend())
    return networks.build(
        role.network,
        model,
        tasks=role.tasks,
        structures=len(config.data.structures),
        numerics=layers.Numerics(
            dtype=jnp.dtype(model.dtype),
            axis_name=axis_name,
            fast_variance=True,
            remat=model.remat,
            rewrites=forms,
            norm_slices=config.train.batch_norm_slices,
        ),
    )


def make_preprocess(
    config: ml_collections.ConfigDict,
    statistics: Mapping[str, Any],
    site: sites.Site | None = None,
) -> preprocess.Preprocess:
    """Preprocessing as configured, with `ct_mean` and `ct_std` of `statistics`.

    Give `site` if the configuration's may be a file that does not exist here.
    """
    data = config.data
    return preprocess.Preprocess(
        site=site or sites.get(config.site),
        structures=tuple(data.structures),
        beside_ct=roles.get(config.role).beside_ct,
        ct_values=data.ct_values,
        ct_window=tuple(data.ct_window),
        ct_mean=statistics["ct_mean"],
        ct_std=statistics["ct_std"],
        prescription_gy=data.prescription_gy,
        image_size=tuple(data.image_size),
        image_spacing_mm=data.image_spacing_mm,
        further=input_volumes.further_channels(config),
        all_structures=config.loss.dvh_weight > 0,
    )


@dataclasses.dataclass(frozen=True)
class Run:
    """A run on prepared data, in its working directory.

    Its parts are made when they are first used, and `train` puts them to work.
    """

    config: ml_collections.ConfigDict
    data: prepared.Prepared
    workdir: Path
    # Files by split and patient, if predicted contours are an input of the role.
    contours: Mapping[str, Mapping[str, Path]] = dataclasses.field(default_factory=dict)

    @property
    def role(self) -> roles.Role:
        """The role that the network is trained for."""
        return roles.get(self.config.role)

    @property
    def site(self) -> sites.Site:
        """The site of the patients."""
        return sites.get(self.config.site)

    # Data: patients, images, batches.

    def split(self, name: str) -> prepared.Split:
        """The split called `name`.

        Raises:
            DatasetError: the data set has no such split.
        """
        return input_volumes.open_split(
            name, self.config, self.data, workdir=self.workdir, contours=self.contours
        )

    @property
    def left_out(self) -> tuple[int, ...]:
        """Indices of the training patients that this run is not trained on."""
        fold, folds = self.config.data.left_out_fold
        patients = len(self.split("train").patients) if folds else 0
        return tuple(i for i in range(patients) if i % folds == fold)

    @functools.cached_property
    def statistics(self) -> dict[str, Any]:
        """Mean and deviation that normalise the CT; fitted once for the data set."""
        return distributed.once(
            lambda: ct_statistics.of(
                self.config, self.data, lambda: self.split("train"), self.workdir
            )
        )

    @functools.cached_property
    def preprocess(self) -> preprocess.Preprocess:
        """Examples to images, as configured."""
        return make_preprocess(self.config, self.statistics)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """H, W, C of the network's images."""
        height, width = self.preprocess.image_size
        return height, width, self.preprocess.channels

    @functools.cached_property
    def training_batches(self) -> batches.Training:
        """Slices of the training split in random order, augmented as configured."""
        config, split = self.config, self.split("train")
        walk = batches.walk(
            split,
            batch_size=config.train.batch_size,
            seed=config.seed,
            skip_empty_slices=config.data.skip_empty_slices,
            leave_out=self.left_out,
            times=self._times(),
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        if config.data.on_device:
            return resident.training(split, walk, self.preprocess, self.augment)
        return batches.training(
            split, walk, preprocess=self.preprocess, augment=self.augment
        )

    def _times(self) -> np.ndarray | None:
        """How often each training slice is drawn in an epoch; None: once."""
        data = self.config.data
        if tuple(data.draws) == (1, 1, 1):
            return None
        digits = distributed.once(self._shown)["train"]
        return draws.times(np.array([*digits], np.uint8), data.draws)

    def _shown(self) -> dict[str, str]:
        """What each training slice shows, a digit for each; found once."""
        path = self.workdir / "slices_shown.json"
        if not path.exists():
            structures = tuple(self.config.data.structures)
            found = draws.shown(self.split("train"), structures)
            workdir.write_json({"train": "".join(map(str, found))}, path)
        return workdir.read_json(path)

    def evaluation_batches(
        self, name: str, leave_out: Collection[int] = ()
    ) -> batches.Evaluation:
        """All slices of split `name`, without the patients at indices `leave_out`."""
        return batches.evaluation(
            self.split(name),
            preprocess=self.preprocess,
            batch_size=self.config.evaluate.batch_size,
            leave_out=leave_out,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    @functools.cached_property
    def augment(self) -> augment.Augment | None:
        """The random changes of training slices."""
        settings = dict(self.config.augment)
        if not settings.pop("enabled"):
            return None
        return augment.Augment(
            site=self.site, ct_std=self.preprocess.ct_std, **settings
        )

    @functools.cached_property
    def schedule(self) -> configs.Schedule:
        """The numbers of steps: in all, per epoch, between logs and checkpoints."""
        return configs.Schedule.of(self.config, self.training_batches.steps_per_epoch)

    # Network and training step.

    @functools.cached_property
    def backend(self) -> parallel.Backend:
        """The devices that share each batch."""
        train = self.config.train
        return parallel.backend(
            train.backend,
            devices=train.devices,
            batch_size=train.batch_size,
            accumulate=train.accumulate,
            evaluate_batch_size=self.config.evaluate.batch_size,
            norm_slices=train.batch_norm_slices,
            tuned=train.compiler_options == "tuned",
        )

    @functools.cached_property
    def step(self) -> step.Step:
        """The network, its losses and its optimizer."""
        config = self.config
        return step.Step(
            network=make_network(config, self.backend.axis_name, self.backend.platform),
            objective=objective.Objective(
                self.role.tasks,
                {**config.loss, "contour_head": config.model.contour_head},
            ),
            transform=learning_rate.optimizer(config.optimizer, self.schedule),
            dwa_temperature=config.dwa.temperature,
            dwa_interval=self.schedule.dwa_interval,
            accumulate=config.train.accumulate,
            log_every=self.schedule.log_every,
            axis_name=self.backend.axis_name,
            average_decay=config.optimizer.average_decay,
        )

    def initial_state(self) -> tuple[states.TrainState, dict[str, Any]]:
        """The host state before the first step; the origin of its weights."""
        variables = parameters.initialise(
            self.step.network, self.config.seed, self.image_shape
        )
        if self.config.model.start_from:
            variables, origin = starting_weights.load(
                variables, self.config, self.preprocess, make_preprocess
            )
        else:
            variables, note = pretrained.load(variables, self.config.model.pretrained)
            origin = {"pretrained": note}
        return jax.device_get(self._as_state(variables)), origin

    def abstract_state(self) -> states.TrainState:
        """Shapes and types of the state, without computing it."""
        return jax.eval_shape(
            self._as_state,
            parameters.shapes(self.step.network, self.image_shape),
        )

    def _as_state(self, variables: Any) -> states.TrainState:
        return states.create(
            variables,
            self.step.transform,
            tasks=len(self.role.tasks),
            metrics=self.step.metrics,
            averaged=self.config.optimizer.average_decay > 0,
        )

    # Checkpoints.

    @property
    def finished(self) -> bool:
        """Whether the working directory holds the last step's checkpoint."""
        folder = self.workdir / "checkpoints"
        saved = distributed.once(lambda: checkpoint.steps(folder))
        return bool(saved) and saved[-1] >= self.schedule.steps

    @property
    def checkpoint_item(self) -> dict[str, Any]:
        """The JSON item of each checkpoint: what prediction needs besides weights."""
        item = {
            "config": configs.flatten(self.config),
            "statistics": self.statistics,
            "site": sites.to_json(self.site),
            "structures": list(self.config.data.structures),
            "data_fingerprint": self.data.fingerprint,
            "training_data": self._training_data(),
        }
        if self._contour_network:
            item[checkpoint.CONTOUR_NETWORK] = self._contour_network[1]
        return item

    def _training_data(self) -> dict[str, Any]:
        """Figures of the training data, computed once for the workdir."""
        path = self.workdir / "training_data.json"
        if path.exists():
            return workdir.read_json(path)
        description = training_data.describe(self.data.splits["train"], self.left_out)
        workdir.write_json(description, path)
        return description

    @functools.cached_property
    def _contour_network(self) -> tuple[Any, dict[str, Any]] | None:
        """Weights and description of the network that predicts the input contours."""
        source = contour_runs.checkpoint_of(self.config, self.workdir)
        if source is None:
            return None
        folder, description = source
        contour_config = configs.unflatten(description["config"])
        network = make_network(contour_config, None)
        made = make_preprocess(contour_config, description["statistics"], self.site)
        image_shape = (*made.image_size, made.channels)
        weights = checkpoint.load_weights(
            folder, parameters.shapes(network, image_shape)
        )
        return weights, description | {"weights_digest": checkpoint.digest(weights)}

    def _open_checkpoints(self) -> checkpoint.Checkpoints:
        if not distributed.is_first():
            return checkpoint.NoCheckpoints()
        weights = self._contour_network and self._contour_network[0]
        measure = self.validation_score.measure
        return checkpoint.Checkpoints(self.workdir / "checkpoints", weights, measure)

    # Training.

    @functools.cached_property
    def validation_score(self) -> validation_score.Score:
        """The score that picks the best checkpoint, as configured."""
        validation = functools.partial(self.evaluation_batches, "validation")
        return validation_score.make(
            self.config, self.data, validation, self.preprocess, self.workdir
        )

    def train(self, stop: Callable[[], bool], also: Sequence[Any] = ()) -> bool:
        """Train from the newest checkpoint to the end; False if stopped before.

        `also`: further writers (train/writers) of what is logged.

        Raises:
            ConfigError: the learning rate would be 0 for some of the steps.
        """
        if not self.finished:
            learning_rate.check(self.config.optimizer, self.schedule)
        like = self.abstract_state()
        with self._open_checkpoints() as checkpoints:
            state: states.TrainState = distributed.from_first(
                lambda: self._begin(checkpoints, like), like
            )
            first = int(state.step)
            if first >= self.schedule.steps:
                logger.info("already trained for %d steps", first)
                return True
            writer = writers.NoWriter()
            if distributed.is_first():
                writer = writers.open_writers(
                    self.workdir, resume_step=first, also=also
                )
            with contextlib.closing(writer):
                self._describe(state, writer)
                self.validation_score.prepare()
                state = loops.train(self.loop(checkpoints, stop), state, writer)
        return int(state.step) >= self.schedule.steps

    def _begin(
        self, checkpoints: checkpoint.Checkpoints, like: states.TrainState
    ) -> states.TrainState:
        """The newest checkpoint's state, or a new one; the workdir notes the start."""
        restored = checkpoints.restore(like)
        if restored is None:
            state, origin = self.initial_state()
        else:
            state, origin = restored[0], {"pretrained": "restored from a checkpoint"}
            learning_rate.warn_of_another_cosine(
                self.config.optimizer,
                self.schedule,
                earlier=restored[1]["config"],
                step=int(state.step),
            )
        step = int(state.step)
        to_train = step < self.schedule.steps
        rates = learning_rate.in_words(self.config.optimizer, self.schedule)
        workdir.note_start(
            self.workdir,
            step=step,
            origin=origin,
            learning_rate=rates if to_train else "",
        )
        if not self._initial_rms():
            initial = module_rms.of(state.params)
            workdir.write_json(initial, self.workdir / INITIAL_RMS)
        return state

    def _initial_rms(self) -> dict[str, float]:
        """The RMS of each module's kernels when the run began; {} before."""
        path = self.workdir / INITIAL_RMS
        return workdir.read_json(path) if path.exists() else {}

    def _describe(self, state: states.TrainState, writer: Any) -> None:
        """Log the network's parameters and the schedule, also to TensorBoard."""
        overview = parameter_overview.get_parameter_overview(state.params)
        writer.write_texts(0, {"parameters": f"```\n{overview}\n```"})
        logger.info(
            "%s: %s, %s parameters; %d steps of %d slices, %d steps an epoch; learning "
            "rate %s",
            self.role.name,
            self.role.network,
            f"{sum(leaf.size for leaf in jax.tree.leaves(state.params)):,}",
            self.schedule.steps,
            self.config.train.batch_size,
            self.schedule.epoch_steps,
            learning_rate.in_words(self.config.optimizer, self.schedule),
        )

    def loop(
        self, checkpoints: checkpoint.Checkpoints, stop: Callable[[], bool]
    ) -> loops.Loop:
        """The parts of the run that the training loop needs."""
        put_batch, put_batches = residents.put_batches(
            self.backend,
            self.training_batches.table,
            several=self.schedule.steps_per_call > 1,
        )
        colours = [self.site.structure(n).colour for n in self.config.data.structures]
        return loops.Loop(
            step=self.step,
            backend=self.backend,
            schedule=self.schedule,
            batches_from=self.training_batches.iterate,
            put_batch=put_batch,
            put_batches=put_batches,
            validation=lambda: self.evaluation_batches("validation"),
            checkpoints=checkpoints,
            run=self.checkpoint_item if distributed.is_first() else {},
            initial_rms=self._initial_rms(),
            score=self.validation_score,
            picture=functools.partial(
                writers.picture,
                colours=colours,
                slices=4,
                head=self.config.model.contour_head,
                threshold=self.config.evaluate.contour_threshold,
            ),
            stop=stop,
        )
