"""Apache Beam reads patients and writes shards, wherever its runner puts the work.

Input: shards of patients, a function that reads a patient, and TFDS's shard writer.
Output: for each patient the entry of the data set's index, or why it is refused. Only
this module imports Beam, and only when a build uses it.

TFDS's own Beam mode of a ShardBasedBuilder (4.9.10) is not used: it runs the shards of
the first split again for each further split, and mixes up the sizes of eleven or more
shards of unequal size. Its options, its writer and its file names are used.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer, writer

from mtl_jax.core import errors, records
from mtl_jax.datasets import examples

RESULTS_FILE = "beam.jsonl"


@dataclasses.dataclass(frozen=True)
class Shard:
    """Patients whose slices share a file, which is at `path` on every machine."""

    path: Path
    raw: Mapping[str, Any]  # by patient: what the builder's READ takes


@dataclasses.dataclass(frozen=True)
class Written:
    """The index entry of a patient whose slices were written."""

    entry: examples.PatientEntry  # starts at 0
    digest: str  # of its stack


# By patient; an error says why a patient is refused.
Outcomes = Mapping[str, Written | errors.MtlError]
Read = Callable[[Any], examples.Stack | errors.MtlError]


def options(text: str | None) -> Any:
    """Beam's options from NAME=VALUE,NAME=VALUE, as `tfds build` takes them."""
    if text is None:
        return None
    return _import().options.pipeline_options.PipelineOptions(
        flags=[f"--{each}" for each in text.split(",") if each]
    )


def is_requested(config: tfds.download.DownloadConfig) -> bool:
    """Whether TFDS's configuration names a runner or options of Beam."""
    return (config.beam_runner, config.beam_options) != (None, None)


def make_writer(features: Any, example_writer: Any) -> writer.ShardWriter:
    """TFDS's writer of a shard of examples with `features`."""
    serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
    return writer.ShardWriter(features, serializer, example_writer)


def write(
    shards: Sequence[Shard],
    read: Read,
    shard_writer: writer.ShardWriter,
    config: tfds.download.DownloadConfig,
) -> list[Outcomes]:
    """Write all `shards` in one pipeline; returns each shard's patients and results.

    `read` must be picklable.
    """
    beam = _import()
    results = shards[0].path.parent / RESULTS_FILE
    with beam.Pipeline(config.beam_runner, options=config.beam_options) as pipeline:
        _ = (
            pipeline
            | beam.Create(shards)
            | beam.Reshuffle()  # otherwise one worker gets all of them
            | beam.Map(_write, read=read, shard_writer=shard_writer)
            | beam.io.WriteToText(str(results), num_shards=1, shard_name_template="")
        )
    by_file = dict(json.loads(line) for line in results.read_text("utf-8").splitlines())
    results.unlink()
    return [
        {p: _from_json(values) for p, values in by_file[shard.path.name].items()}
        for shard in shards
    ]


def _write(shard: Shard, read: Read, shard_writer: writer.ShardWriter) -> str:
    """A worker's task: write a shard; returns JSON of its file name and results."""
    results = {}

    def read_examples() -> Iterator[tuple[int, records.Example]]:
        for patient, raw in shard.raw.items():
            stack = read(raw)
            results[patient] = _to_json(stack)
            if not isinstance(stack, errors.MtlError):
                yield from enumerate(examples.slices(stack))

    shard_writer.write(examples=read_examples(), path=shard.path)
    return json.dumps([shard.path.name, results])


def _to_json(stack: examples.Stack | errors.MtlError) -> dict[str, Any]:
    if isinstance(stack, errors.MtlError):
        return {"error": type(stack).__name__, "message": str(stack)}
    return {"entry": stack.entry.to_json(), "digest": stack.digest}


def _from_json(values: Mapping[str, Any]) -> Written | errors.MtlError:
    if "error" in values:
        return getattr(errors, values["error"])(values["message"])
    return Written(examples.PatientEntry.from_json(values["entry"]), values["digest"])


def _import() -> Any:
    try:
        import apache_beam  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise errors.ConfigError(
            f"Apache Beam cannot be imported ({error}): install the extra `beam` in an "
            "environment of its own: make venv VENV=.venv-beam EXTRAS=beam"
        ) from None
    return apache_beam
