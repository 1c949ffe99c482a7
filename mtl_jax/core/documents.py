"""Files that a user writes, as plain values: TOML, YAML, JSON.

Input: a path. Output: the values at the top of the file, by key. A repeated key is an
error, because it is unclear which value was meant.
"""

import json
import tomllib
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from mtl_jax.core import errors

# More than any real file has; aliases of aliases can grow without bounds.
MOST_VALUES = 100_000


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses repeated keys."""

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, Any]:
        seen = set()
        for name, _ in node.value:
            key = name.value if isinstance(name, yaml.ScalarNode) else None
            if key is not None and (name.tag, key) in seen:
                raise yaml.MarkedYAMLError(
                    problem=_repeated(key), problem_mark=name.start_mark
                )
            seen.add((name.tag, key))
        return super().construct_mapping(node, deep)


def _yaml(text: str) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}) > MOST_VALUES:
            raise ValueError(f"with its aliases (*) it has over {MOST_VALUES} values")
        return loader.construct_document(node)
    except (AttributeError, IndexError, KeyError, TypeError):  # PyYAML says no more
        raise ValueError("a value does not match its tag (!!)") from None
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """The number of values in `node` with each alias written out; fills `known`."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = MOST_VALUES + 1  # if it contains itself
        parts = node.value
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in parts for part in pair]
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]


def _json(text: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key, value in pairs:
            if key in content:
                raise ValueError(_repeated(key))
            content[key] = value
        return content

    return json.loads(text, object_pairs_hook=once)


def _repeated(key: str) -> str:
    return f"the key {key!r} appears twice: keep one"


_LANGUAGES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    ".toml": ("TOML", tomllib.loads),
    ".yaml": ("YAML", _yaml),
    ".yml": ("YAML", _yaml),
    ".json": ("JSON", _json),
}
TOML_OR_YAML = (".toml", ".yaml", ".yml")
YAML_OR_JSON = (".yaml", ".yml", ".json")


def read(path: Path, suffixes: tuple[str, ...], holds: str) -> Mapping[Any, Any]:
    """The content of the file at `path`; empty for an empty file.

    Raises:
        ConfigError: the name does not end in one of `suffixes`, or the file cannot be
            read or is no mapping; `holds` describes the mapping. The caller adds the
            name of the file to the message.
    """
    if path.suffix.lower() not in suffixes:
        raise errors.ConfigError(f"its name should end in {', '.join(suffixes)}")
    language, loads = _LANGUAGES[path.suffix.lower()]
    try:
        content = loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise errors.ConfigError(f"cannot be read: {error.strerror}") from None
    except RecursionError:
        raise errors.ConfigError(f"is not {language}: nested too deep") from None
    except (ValueError, yaml.YAMLError) as error:  # of TOML, JSON and UTF-8 too
        raise errors.ConfigError(f"is not {language}: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise errors.ConfigError(f"holds no {holds}")
    return content
