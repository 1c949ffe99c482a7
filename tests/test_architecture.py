"""The house: who may import whom, one door for each heavy library, and plain habits."""

import ast
import graphlib
import importlib.util
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from docs import architecture

ROOT = pathlib.Path(__file__).resolve().parents[1]

# The table of folders, doors and entry points is in docs/architecture.py.
ARROWS = {folder.name: folder.imports for folder in architecture.FOLDERS}
DOORS = architecture.DOORS
ENTRY_POINTS = architecture.ENTRY_POINTS
# What runs code when it reads a file; the one door has an unpickler that calls nothing.
UNSAFE = ("pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib")
UNSAFE_DOOR = "mtl_jax.models.weight_files"


def modules(*folders: str) -> Iterator[tuple[str, pathlib.Path]]:
    """Dotted name and path of each module under the `folders` that are there."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(p for p in parts if p != "__init__"), path


def parse(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def imports(path: pathlib.Path) -> Iterator[tuple[int, str, bool]]:
    """Line, dotted name, and whether that names one of our modules, of each import."""
    for node in ast.walk(parse(path)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module or ''}.{alias.name}" for alias in node.names]
        for name in names:
            name = re.sub(r"^mtl_jax\.configs\b", "configs", name)  # its real folder
            yield node.lineno, name, is_module(name)


def within(name: str, folder: str) -> bool:
    return name == folder or name.startswith(f"{folder}.")


OURS = ("mtl_jax", "tfds_builders", "configs", "tests", "benchmarks")
PACKAGES = list(modules("mtl_jax", "tfds_builders", "configs"))
SOURCES = [*PACKAGES, *modules("tests", "benchmarks")]


def test_arrows_point_one_way():
    broken = []
    for name, path in PACKAGES:
        if name in ENTRY_POINTS or name == "mtl_jax":
            continue
        homes = [home for home in ARROWS if within(name, home)]
        assert homes, f"{name}: a folder that docs/architecture.py does not know"
        allowed = (homes[0], *(f"mtl_jax.{folder}" for folder in ARROWS[homes[0]]))
        for line, target, _ in imports(path):
            version = target in ("mtl_jax", "mtl_jax.__version__")
            ours = any(within(target, top) for top in OURS)
            if ours and not version and not any(within(target, ok) for ok in allowed):
                broken.append(f"{name}:{line} imports {target}")
    assert not broken, f"allowed: docs/architecture.py; found {broken}"


def folder_of(name: str) -> str:
    """The folder of a module, by its dotted name."""
    path = ROOT.joinpath(*name.split("."))
    folder = path if path.is_dir() else path.parent
    return ".".join(folder.relative_to(ROOT).parts)


def imported_modules(path: pathlib.Path) -> set[str]:
    """Our modules that a file imports; the package's version is none."""
    names = {target for _, target, known in imports(path) if known}
    return {name for name in names if any(within(name, top) for top in OURS)}


def test_each_folder_is_in_the_table_below_what_it_imports():
    names = {folder_of(name) for name, _ in PACKAGES} - {"mtl_jax"}
    parts = {f"{f.name}.{part}" for f in architecture.FOLDERS for part in f.parts}
    builders = {name for name in names if within(name, "tfds_builders")}
    assert names - builders == {*ARROWS, *parts} - {"tfds_builders"}
    above = set()
    for folder in architecture.FOLDERS:
        heads = {name.split(".")[0] for name in folder.imports}
        assert heads <= above, f"{folder.name} imports a folder that stands below it"
        above.add(folder.name.removeprefix("mtl_jax."))


def test_the_map_of_contributing_is_the_table():
    text = architecture.CONTRIBUTING.read_text(encoding="utf-8")
    assert text == architecture.contributing(), "run python -m docs.architecture"


def test_no_import_goes_round():
    modules_of, folders_of = {}, {}
    for name, path in PACKAGES:
        targets = imported_modules(path)
        modules_of.setdefault(name, set()).update(targets - {name})
        folder = folder_of(name)
        # A folder and its own subfolders count as one.
        others = {folder_of(target) for target in targets}
        apart = {o for o in others if not within(o, folder) and not within(folder, o)}
        folders_of.setdefault(folder, set()).update(apart)
    assert not circle(modules_of)
    assert not circle(folders_of)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The nodes of a circle in `graph`; [] if there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_a_circle_is_found():
    assert set(circle({"a": {"b"}, "b": {"a"}, "c": {"a"}})) == {"a", "b"}


def test_no_folder_outgrows_the_others():
    lines = {}
    for name, path in modules("mtl_jax"):
        count = len(path.read_text(encoding="utf-8").split("\n")) - 1
        lines[folder_of(name)] = lines.get(folder_of(name), 0) + count
    total = sum(lines.values())
    large = {name: n / total for name, n in lines.items() if n > 0.12 * total}
    assert not large, f"more than 12 % of the package's lines: {large}"


def test_nothing_imports_an_entry_point():
    broken = [
        f"{name}:{line} imports {target}"
        for name, path in PACKAGES
        for line, target, _ in imports(path)
        if any(within(target, entry) for entry in ENTRY_POINTS)
    ]
    assert not broken


def test_heavy_libraries_come_in_by_their_doors():
    broken = []
    for name, path in PACKAGES:
        for line, target, _ in imports(path):
            for library, doors in DOORS.items():
                inside = any(within(name, door) for door in doors)
                if within(target, library) and not inside:
                    broken.append(f"{name}:{line} imports {target}")
    assert not broken, f"allowed: docs/architecture.py; found {broken}"


def test_modules_are_imported_not_their_names():
    broken = [
        f"{name}:{line} imports {target}"
        for name, path in SOURCES
        for line, target, known in imports(path)
        if any(within(target, top) for top in OURS)
        and not known
        and target != "mtl_jax.__version__"
    ]
    assert not broken, f"write `from mtl_jax.core import geometry`; found {broken}"


def test_a_configuration_is_the_whole_run():
    pattern = re.compile(r"\bconfig(\.\w+)*\.get\(")
    broken = [
        f"{name}:{number}"
        for name, path in modules("mtl_jax", "tfds_builders")
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1)
        if pattern.search(line)
    ]
    assert not broken, f"set the key in configs/common.py; found {broken}"


@pytest.mark.parametrize(
    "config", sorted(p.stem for p in (ROOT / "configs").glob("*.py"))
)
def test_configurations_load_without_jax(config: str):
    program = (
        "import sys, importlib\n"
        f"module = importlib.import_module('mtl_jax.configs.{config}')\n"
        "getattr(module, 'get_config', dict)()\n"
        "heavy = {'jax', 'flax', 'tensorflow_datasets'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None,
    reason="TensorFlow is installed, and TFDS and clu may use it",
)
def test_everything_imports_without_tensorflow_and_starts_no_device():
    names = [n for n, _ in modules("mtl_jax", "tfds_builders") if "__main__" not in n]
    program = (
        "import sys, importlib\n"
        f"for name in {names}: importlib.import_module(name)\n"
        "assert 'tensorflow' not in sys.modules, 'imported tensorflow'\n"
        "import jax\n"
        "jax.config.update('jax_num_cpu_devices', 3)\n"  # refused once JAX has started
        "assert jax.device_count('cpu') == 3\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_no_file_can_run_code_when_it_is_read():
    broken = []
    for name, path in PACKAGES:
        for line, target, _ in imports(path):
            if target.split(".")[0] in UNSAFE and name != UNSAFE_DOOR:
                broken.append(f"{name}:{line} imports {target}")
        for node in ast.walk(parse(path)):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.id if isinstance(node.func, ast.Name) else ""
            allowed = [
                keyword.arg
                for keyword in node.keywords
                if isinstance(keyword.value, ast.Constant)
                and keyword.value.value is True
            ]
            if called in ("eval", "exec") or "allow_pickle" in allowed:
                broken.append(f"{name}:{node.lineno} {ast.unparse(node)[:60]}")
    assert not broken


def test_files_and_functions_stay_small():
    long = []
    for name, path in SOURCES:
        lines = len(path.read_text(encoding="utf-8").split("\n")) - 1
        if lines > 500:
            long.append(f"{name}: {lines} lines, at most 500")
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > 60 and name != "configs.common":
                    long.append(f"{name}.{node.name}: {length} lines, at most 60")
    assert not long


def test_public_names_say_what_they_do():
    silent = []
    for name, path in PACKAGES:
        tree = parse(path)
        if path.stat().st_size and not ast.get_docstring(tree):
            silent.append(name)
        for node in tree.body:
            if (
                isinstance(node, ast.FunctionDef | ast.ClassDef)
                and not node.name.startswith("_")
                and not ast.get_docstring(node)
            ):
                silent.append(f"{name}.{node.name}")
    assert not silent, f"no docstring: {silent}"


def test_no_path_of_one_machine():
    pattern = re.compile(r"(?<![\w.$}])/(?:work|root|tmp|home|Users)/[\w.-]+")
    texts = [path for _, path in SOURCES]
    texts += [ROOT / name for name in ("Makefile", "pyproject.toml", ".ci/run")]
    texts += [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    texts += (ROOT / "tfds_builders").rglob("*.md")
    broken = [
        f"{path.relative_to(ROOT)}:{number} {match.group()}"
        for path in texts
        if path.is_file()
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1)
        for match in pattern.finditer(line)
    ]
    assert not broken
