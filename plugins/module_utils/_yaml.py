# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""YAML as people mean it: a key given twice is a mistake, and every mistake has a line. Without PyYAML only what kubeconfigs need."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from . import _yaml_subset

try:
    import yaml
    from yaml import SafeLoader as _Slow

    _Loader: Any = getattr(yaml, "CSafeLoader", _Slow)
except ImportError:  # a host; the controller has it
    yaml = None  # type: ignore[assignment]
    _Loader = object


MOST_VALUES = 1_000_000  # of one document with its aliases; an object of the 1.5 MB that the API server takes has fewer


class YamlError(ValueError):
    """Not YAML, or YAML that says one thing twice. The message has the line."""


class StrictLoader(_Loader):  # type: ignore[misc]
    """A safe loader that refuses duplicate keys and leaves dates as text, as JSON would."""

    def flatten_mapping(self, node: Any) -> None:
        """Looked at before merge keys are put into it: what those bring may be given again, also where they were put in for another mapping before."""
        if not hasattr(node, "was_seen"):
            node.was_seen = True
            self._refuse_twice(node)
        super().flatten_mapping(node)

    @staticmethod
    def _refuse_twice(node: Any) -> None:
        seen: dict[str, int] = {}
        for key, _value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen and name != "<<":
                raise YamlError(f'line {line}: key "{name}" is given twice (first in line {seen[name]})')
            seen[name] = line


class _AliasLoader(StrictLoader):
    """For texts with anchors: a few lines of aliases to aliases can stand for more values than any memory holds."""

    def construct_document(self, node: Any) -> Any:
        if _count(node, {}) > MOST_VALUES:
            raise YamlError(f"line {node.start_mark.line + 1}: its aliases (*) stand for more than {MOST_VALUES} values")
        return super().construct_document(node)


def _count(node: Any, known: dict[int, int]) -> int:
    """The values that a node stands for, those of its aliases each time; a node that holds itself counts once in itself."""
    if id(node) not in known:
        known[id(node)] = 1
        children = [] if isinstance(node.value, str) else node.value
        pairs = isinstance(node, yaml.MappingNode)
        known[id(node)] += sum(_count(child, known) for item in children for child in (item if pairs else (item,)))
    return known[id(node)]


def _typed(tag: str) -> None:
    """What does not fit its tag (`!!int x`), or looks like a number and is none (`0x_`), is the text's mistake; PyYAML would let Python's own error out."""
    construct = StrictLoader.yaml_constructors[tag]

    def told(loader: Any, node: Any) -> Any:
        try:
            return construct(loader, node)
        except (ValueError, LookupError, AttributeError):
            kind = tag.rpartition(":")[2]
            raise YamlError(f"line {node.start_mark.line + 1}: what stands there is no {kind}; quote it if it is text") from None

    StrictLoader.add_constructor(tag, told)


if yaml is not None:
    for _name in ("bool", "int", "float", "timestamp"):
        _typed("tag:yaml.org,2002:" + _name)
    StrictLoader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in _Loader.yaml_implicit_resolvers.items()
    }


def documents(text: str) -> Iterator[Any]:
    """The documents of a YAML (or JSON) text, in order; YamlError at the first that cannot be read."""
    if yaml is None:
        try:
            yield _yaml_subset.load(text)
        except ValueError as error:
            raise YamlError(str(error)) from None
        return
    try:
        yield from yaml.load_all(text, Loader=_AliasLoader if "&" in text else StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"line {mark.line + 1}: " if mark else ""
        written = text.splitlines()[mark.line : mark.line + 1] if mark else []
        hint = "; YAML is indented with spaces, not tabs" if any(re.match(r" *\t", one) for one in written) else ""
        # The name of a tag, an alias or an anchor may be a password that nobody quoted.
        problem = re.sub(r" '[^'<]{2,}'", "", str(error.problem or error.context))
        raise YamlError(f"{line}{problem}{hint}") from None
    except yaml.YAMLError as error:
        raise YamlError(str(error).replace("\n", " ")) from None
    except UnicodeError as error:
        raise YamlError(f"character {getattr(error, 'start', 0) + 1} is a byte that is not UTF-8") from None
    except RecursionError:
        raise YamlError("it is nested too deeply") from None


def load(text: str) -> Any:
    """The single document of a text, None if it is empty."""
    return next(documents(text), None)
