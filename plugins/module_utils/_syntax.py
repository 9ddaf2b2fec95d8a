# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Kubernetes accepts as a name, label, annotation, taint or quantity, and what is wrong with a text that it does not.

Unless it says otherwise a function returns None for a good value and otherwise the end of a sentence about it ("has a space"). The rules are those of
apimachinery's validation package; https://kubernetes.io/docs/concepts/overview/working-with-objects/labels says the same in words.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
ANNOTATIONS_SIZE = 256 * 1024  # bytes, keys and values of one object together

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_DNS_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
# resource.Quantity of apimachinery
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]?|[eE][+-]?\d{1,2})")
_POWERS = {"": 0, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}  # of ten
_DNS_SUBDOMAIN = re.compile(rf"{_DNS_LABEL}(\.{_DNS_LABEL})*")


def key(text: Any) -> str | None:
    """A label, annotation or taint key: `name` or `dns.prefix/name`."""
    if not isinstance(text, str):
        return f"is {kind(text)}, not text"
    if not text:
        return "is empty"
    prefix, slash, name = text.rpartition("/")
    if slash and not prefix:
        return "has an empty prefix before the slash"
    if "/" in prefix:
        return "has more than one slash"
    if prefix:
        problem = subdomain(prefix)
        if problem:
            return f'has a prefix "{prefix}" that {problem}'
    return _name(name, "a name after the slash that " if slash else "")


def label_value(value: Any) -> str | None:
    """A label's or taint's value: text of at most 63 characters, may be empty."""
    if not isinstance(value, str):
        return not_text(value)
    return _name(value, "") if value else None


def annotation_value(value: Any) -> str | None:
    """Any text that is Unicode: Python keeps bytes that are not (of a variable, say) in a form that nobody else can read."""
    if not isinstance(value, str):
        return not_text(value)
    return "has a byte that is not UTF-8" if value.encode(errors="replace").decode() != value else None


def subdomain(text: str) -> str | None:
    """A DNS subdomain in lower case, as most object names are."""
    if len(text) > 253:
        return f"is {len(text)} characters long (at most 253)"
    if _DNS_SUBDOMAIN.fullmatch(text):
        return None
    if text.lower() != text:
        return "has capital letters"
    return "is not a DNS name (letters a-z, digits, '-' and '.', beginning and ending with a letter or digit)"


def dns_label(text: str) -> str | None:
    """One part of a DNS name, as namespaces and services are."""
    if len(text) > 63:
        return f"is {len(text)} characters long (at most 63)"
    if re.fullmatch(_DNS_LABEL, text):
        return None
    return "is not a DNS label (letters a-z, digits and '-', beginning and ending with a letter or digit)"


def taint_effect(value: Any) -> str | None:
    if value in TAINT_EFFECTS:
        return None
    guess = nearest(str(value), TAINT_EFFECTS)
    return f"must be one of {', '.join(TAINT_EFFECTS)}" + (f" (did you mean {guess}?)" if guess else "")


def not_text(value: Any) -> str:
    """For a value that YAML has read as something else than text."""
    if value is None:
        return 'is empty (null); write "" for an empty value'
    if isinstance(value, (bool, int, float)):
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        return f'is {kind(value)}, not text; write it in quotes ("{shown}")'
    return f"is {kind(value)}, not text"


def kind(value: Any) -> str:
    """The type of a YAML value in the reader's words."""
    if value is None:
        return "null"
    for types, words in ((bool, "a boolean"), ((int, float), "a number"), (str, "text"), (dict, "a mapping"), (list, "a list")):
        if isinstance(value, types):
            return words
    return f"a {type(value).__name__}"


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The one of `words` that was probably meant."""
    by_lower = {item.lower(): item for item in words}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def _name(text: str, where: str) -> str | None:
    if len(text) > 63:
        return f"has {where}is {len(text)} characters long (at most 63)" if where else f"is {len(text)} characters long (at most 63)"
    if _NAME.fullmatch(text):
        return None
    if not text:
        return "has no name after the slash"
    problem = "has a space" if " " in text else "may hold only letters, digits, '-', '_' and '.', and must begin and end with a letter or digit"
    return f"has {where}{problem}" if where else problem


def quantity(value: Any) -> Decimal | None:
    """A quantity such as 500m, 1.5Gi or 2e3 as a number, None for what is none. 1000m and 1 are the same, as are 1Gi and 1024Mi."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = Decimal(str(value))
        return number if number.is_finite() else None
    parts = _QUANTITY.fullmatch(value) if isinstance(value, str) and len(value) < 40 else None
    if parts is None:
        return None
    number, unit = Decimal(parts[1]), parts[2]
    if unit.endswith("i"):
        return number * Decimal(1024) ** ("KMGTPE".index(unit[0]) + 1)
    return number.scaleb(_POWERS[unit] if unit in _POWERS else int(unit[1:]))


def some(names: Sequence[str], most: int = 10) -> str:
    """The first of `names`, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") if names else "none"


def path_shown(value: Any) -> str:
    """What was given as a path, for a message; not where it may be the content of a file, which may be secret."""
    text = str(value)
    return text if len(text) < 256 and text.isprintable() and "{" not in text else "what is given, which is no path"
