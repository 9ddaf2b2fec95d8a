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


if yaml is not None:
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
        yield from yaml.load_all(text, Loader=StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"line {mark.line + 1}: " if mark else ""
        written = text.splitlines()[mark.line : mark.line + 1] if mark else []
        hint = "; YAML is indented with spaces, not tabs" if any(re.match(r" *\t", one) for one in written) else ""
        raise YamlError(f"{line}{error.problem or error.context}{hint}") from None
    except yaml.YAMLError as error:
        raise YamlError(str(error).replace("\n", " ")) from None


def load(text: str) -> Any:
    """The single document of a text, None if it is empty."""
    return next(documents(text), None)
