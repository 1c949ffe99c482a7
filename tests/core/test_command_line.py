"""Help, version and `--quiet` of every command, and how soon they answer."""

import importlib
import logging
import os
import pathlib
import subprocess
import sys

import pytest
from absl import flags

import mtl_jax
from mtl_jax import __main__ as script
from mtl_jax.core import command_line
from mtl_jax.run import flags as run_flags
from mtl_jax.study import study_flags

ROOT = pathlib.Path(__file__).resolve().parents[2]
# A command that has imported one of these takes seconds to answer.
HEAVY = (
    "jax",
    "flax",
    "grain",
    "tensorflow_datasets",
    "pydicom",
    "scipy",
    "matplotlib",
)


@pytest.fixture(autouse=True)
def argv(monkeypatch):
    """A command line, an environment and a logger that the test may change."""
    monkeypatch.setattr(sys, "argv", ["mtl-jax"])
    monkeypatch.setenv("MTL_JAX_QUIET", "")
    monkeypatch.setenv("TQDM_DISABLE", "")
    logger = logging.getLogger("mtl_jax")
    level = logger.level
    yield
    logger.setLevel(level)


def answer(capsys, monkeypatch, *words):
    """(exit status, stdout, stderr) of `mtl-jax WORDS`."""
    monkeypatch.setattr(sys, "argv", ["mtl-jax", *words])
    try:
        status = script.main()
    except SystemExit as end:
        status = end.code
    return status, *capsys.readouterr()


@pytest.mark.parametrize("verb", script.COMMANDS)
def test_help_shows_the_flags_of_the_verb_an_example_and_no_library(
    capsys, monkeypatch, verb
):
    status, out, _ = answer(capsys, monkeypatch, *verb.split(), "--help")
    assert status == 0
    assert f"usage: mtl-jax {verb} [-h] [--version] [--quiet]" in out
    assert f"example:\n  mtl-jax {verb}" in out
    assert "absl" not in out
    assert "tfds_" not in out


def test_help_shows_every_flag_that_a_training_command_defines(capsys, monkeypatch):
    for verb, modules in (
        ("train", [run_flags]),
        ("study", [run_flags, study_flags]),
    ):
        _, out, _ = answer(capsys, monkeypatch, verb, "--help")
        for module in modules:
            holders = [
                v for v in vars(module).values() if isinstance(v, flags.FlagHolder)
            ]
            assert holders
            missing = [h.name for h in holders if f"--{h.name}" not in out]
            assert not missing
    assert "(default: contour,baseline,seq_human,seq_auto,multi)" in " ".join(
        out.split()
    )


@pytest.mark.parametrize("verb", [*script.COMMANDS, ""])
def test_help_waits_for_no_library(verb):
    program = (
        "import sys\n"
        f"sys.argv = ['mtl-jax', *{verb.split()}, '--help']\n"
        "from mtl_jax import __main__ as script\n"
        "try: script.main()\n"
        "except SystemExit: pass\n"
        f"print('imported', sorted(set({HEAVY}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.endswith("imported []\n"), done.stdout + done.stderr


def test_the_script_without_a_verb_lists_them(capsys, monkeypatch):
    status, out, _ = answer(capsys, monkeypatch)
    assert status == 0
    for verb in script.COMMANDS:
        assert f"\n  {verb} " in out
    assert answer(capsys, monkeypatch, "--help")[1] == out


def test_a_wrong_verb_is_one_line(capsys, monkeypatch):
    status, out, err = answer(capsys, monkeypatch, "predcit", "new")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "did you mean 'predict'?" in err


def test_build_alone_lists_the_builders(capsys, monkeypatch):
    status, out, err = answer(capsys, monkeypatch, "build")
    assert (status, out) == (2, "")
    assert "build openkbp" in err
    assert "study" not in err
    assert answer(capsys, monkeypatch, "build", "--help")[:2] == (0, err)


@pytest.mark.parametrize("words", [(), ("train",), ("predict",), ("build", "dicom")])
def test_version(capsys, monkeypatch, words):
    status, out, _ = answer(capsys, monkeypatch, *words, "--version")
    assert (status, out) == (0, f"mtl-jax {mtl_jax.__version__}\n")


def test_each_verb_is_the_command_of_python_m(monkeypatch):
    for verb, (module, _) in script.COMMANDS.items():
        name = module if module == "mtl_jax.main" else f"{module}.__main__"
        called = []
        command = importlib.import_module(name)
        monkeypatch.setattr(command, "main", lambda words, to=called: to.append(words))
        needs_site = verb in ("build dicom", "build nifti")
        words = ["--site=prostate"] if needs_site else ["--quiet"]
        monkeypatch.setattr(sys, "argv", ["mtl-jax", *verb.split(), *words])
        script.main()
        assert called == [words]
        assert sys.argv[0] == f"mtl-jax {verb}"
        assert command_line.name(verb, module) == f"mtl-jax {verb}"
        assert command_line.name("other", module) == f"python -m {module}"


def test_quiet_shows_warnings_alone():
    logger = logging.getLogger("mtl_jax")
    command_line.set_log_level()
    assert logger.isEnabledFor(logging.INFO)
    command_line.parser("x", "mtl_jax.x", "X.", "").parse_args(["--quiet"])
    command_line.set_log_level()
    assert not logger.isEnabledFor(logging.INFO)
    assert logger.isEnabledFor(logging.WARNING)


def test_defaults_are_shown_once_and_only_where_there_are_some(capsys):
    parser = command_line.parser("x", "mtl_jax.x", "X.", "")
    parser.add_argument("--steps", type=int, default=7, help="how many")
    parser.add_argument("--out", help="where")
    parser.add_argument("--fast", action="store_true", help="be fast")
    parser.add_argument("--said", default=3, help="number (default: three)")
    parser.print_help()
    out = capsys.readouterr().out
    assert "how many (default: 7)" in out
    assert "number (default: three)" in out
    assert out.count("default") == 2


@pytest.mark.parametrize(
    ("line", "expected", "absent"),
    [
        ("mtl-jax ", {"train", "build", "predict"}, {"openkbp"}),
        ("mtl-jax pre", {"predict"}, {"train"}),
        ("mtl-jax build ", {"openkbp", "dicom"}, {"predict"}),
        ("mtl-jax build dicom --si", {"--site"}, {"--data_dir"}),
        ("mtl-jax predict --ch", {"--checkpoint"}, {"--out"}),
        ("mtl-jax train --config=openkbp", {"openkbp", "openkbp_best"}, {"demo"}),
        ("mtl-jax study --ro", {"--roles"}, {"--seeds"}),
    ],
)
def test_the_shell_completes_verbs_flags_and_configurations(
    line, expected, absent, tmp_path
):
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "words"),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    subprocess.run(
        [sys.executable, "-m", "mtl_jax"], cwd=ROOT, env=os.environ | asked, check=True
    )
    words = (tmp_path / "words").read_text().split("\n")
    found = {word.strip().split("=")[-1] for word in words}
    assert expected <= found
    assert not absent & found
