"""Names and YAML text, for settings, flags and the web configuration."""

import difflib
import re
from collections.abc import Hashable, Iterable
from typing import Any

import yaml

_QUOTED_LENGTH = 60  # enough to recognise a mistyped value; the error stays one line
_NULL = "tag:yaml.org,2002:null"


class YamlError(Exception):
    """The text is not valid YAML. The message names the place and repeats nothing of the text."""


def quote(value: object) -> str:
    """Show a value that is not secret inside a one-line message."""
    text = repr(value)
    return text if len(text) <= _QUOTED_LENGTH else f"{text[:_QUOTED_LENGTH]}…"


def word(name: object) -> str:
    """Cut a mistyped name off where a value may begin: `password:abc` without a blank holds a secret."""
    return re.split(r"[^\w.-]", str(name), maxsplit=1)[0]


def nearest(name: object, known: Iterable[str]) -> str:
    """Find the most similar known name, also if only the group is missing."""

    def likeness(candidate: str) -> float:
        tail = re.split(r"\.|__", candidate)[-1]
        text = str(name).lower()
        return max(difflib.SequenceMatcher(None, text, each.lower()).ratio() for each in (candidate, tail))

    return max(known, key=likeness)


def no_password() -> str:
    """Refuse an encrypted private key: OpenSSL would ask for its password at the terminal, and block."""
    raise ValueError("the key is encrypted; store it without a password, readable by the exporter alone")


class _TextLoader(yaml.BaseLoader):
    """YAML loader: scalars other than null stay text; a duplicate key is an error.

    YAML's own guesses turn the offset +10:00 into 600 and a password 0123 into 83.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse duplicate keys: PyYAML would silently use the last one."""
        keys = [key.value for key, _ in node.value]
        for index, (key, _) in enumerate(node.value):
            if key.value in keys[:index]:
                raise yaml.constructor.ConstructorError(None, None, "duplicate key", key.start_mark)
        return super().construct_mapping(node, deep=deep)


_TextLoader.add_implicit_resolver(_NULL, re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_TextLoader.add_constructor(_NULL, lambda _loader, _node: None)


def read_yaml(text: str | bytes) -> Any:
    """Read YAML as text, lists and mappings; an empty document is an empty mapping. Raises YamlError."""
    try:
        document = yaml.load(text, _TextLoader)  # noqa: S506  makes text, lists and mappings only
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # Other texts of the library may repeat a piece of a password.
        reason = "duplicate key" if error.problem == "duplicate key" else "not valid YAML"
        reason += f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    except yaml.YAMLError:
        reason = "it holds characters that YAML forbids"
    except RecursionError:
        reason = "it nests too deep"
    else:
        return {} if document is None else document
    raise YamlError(f"{reason}; correct it (values with any of : # * & ! % @ ` need quotes)")
