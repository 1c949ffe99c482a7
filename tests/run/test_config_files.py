"""`--config`: a name of the package, or a user's file."""

import pathlib

import pytest

from mtl_jax.configs import demo
from mtl_jax.core import errors
from mtl_jax.run import config_files

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_name_is_the_shipped_file_with_its_role():
    assert config_files.find("openkbp") == str(ROOT / "configs/openkbp.py")
    assert config_files.find("demo:hps") == str(ROOT / "configs/demo.py") + ":hps"


def test_every_file_of_configs_is_a_name():
    files = {path.stem for path in (ROOT / "configs").glob("*.py")}
    assert set(config_files.names()) == files - {"__init__", "common"}
    assert "demo" in config_files.names()


def test_a_path_is_the_user_s_own_file(tmp_path, write_as, monkeypatch):
    path = write_as("mine.py")(
        "from mtl_jax.configs import demo\n"
        "def get_config(role='multi'):\n"
        "    config = demo.get_config(role)\n"
        "    config.train.steps = 3\n"
        "    return config\n"
    )
    assert config_files.find("mine.py:contour") == "mine.py:contour"
    assert config_files.find(f"{path}") == f"{path}"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_files.find("~/mine.py") == str(path)
    # A name of the package stays what it is, whatever lies in the folder.
    (tmp_path / "openkbp").mkdir()
    assert config_files.find("openkbp").startswith(str(ROOT))


def test_in_a_checkout_the_files_have_their_paths(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert config_files.find("configs/openkbp.py:multi") == "configs/openkbp.py:multi"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "opnkbp",
            r"called 'opnkbp'; did you mean 'openkbp'\?.*known: accelerator, demo,",
        ),
        ("common", "called 'common'.*known: accelerator, demo"),
        ("mine", r"called 'mine' comes with.*write --config=mine\.py"),
        ("no/such.py", "there is no file no/such.py; known: accelerator, demo"),
        ("configs/demo.py", "no file configs/demo.py; the package has it as .*=demo$"),
        ("mine.py:multi", "mine.py, line 2: ZeroDivisionError: division by zero"),
    ],
)
def test_a_wrong_one_is_an_error_of_one_line(write_as, text, message):
    write_as("mine.py")("x = 1\ny = x / 0\n")
    with pytest.raises(errors.ConfigError, match=message) as caught:
        config_files.find(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def get_config(:\n", "mine.py, line 1: SyntaxError: invalid syntax"),
        ("x = 1\n", r"mine.py needs a get_config\(\)"),
        ("def get_config(role): pass\n", r"mine.py needs a get_config\(\)"),
        ("def get_config(): pass\n", r"TypeError: get_config\(\) takes 0"),
        ("import konfigs\n", "line 1: ModuleNotFoundError: No module named 'konfigs'"),
        (
            "raise ModuleNotFoundError(name='configs')\n",
            "write `from mtl_jax.configs import",
        ),
    ],
)
def test_a_file_that_does_not_load_says_where(write_as, body, message):
    write_as("mine.py")(body)
    with pytest.raises(errors.ConfigError, match=message) as caught:
        config_files.find("mine.py:multi")
    assert "\n" not in str(caught.value)


def test_the_second_name_of_configs_is_no_second_copy():
    assert demo.__name__ == "mtl_jax.configs.demo"
    assert pathlib.Path(demo.__file__) == ROOT / "configs" / "demo.py"
    assert not (ROOT / "mtl_jax" / "configs").exists()
    for path in (ROOT / "configs").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "\nfrom configs" not in text, f"{path.name}: fails when installed"
