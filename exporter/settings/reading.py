"""Reads flags, environment and settings file, in this precedence; each error is one line with its source.

pydantic-settings makes the flags out of the model and checks what comes together. The environment is an
argument here, and the file is read as text only (YAML's own guesses turn the offset +10:00 into 600 and a
password 0123 into 83), so that one text means the same in all three places.
"""

import difflib
import re
from argparse import ArgumentParser
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never

import yaml
from pydantic import ValidationError
from pydantic_settings import CliSettingsSource

from exporter.settings.catalog import PREFIX, SettingInfo, catalog
from exporter.settings.groups import Settings, SettingsError
from exporter.settings.parsers import quote

_BY_KEY = {info.key: info for info in catalog()}
_GROUPS = {info.group for info in catalog() if info.group}
# What users of other exporters type.
SPELLINGS = {"--config.file": "--config", "--web.config.file": "--web.config-file"}
# Not repeated: it may be the second half of a password with a blank.
STRAY = (
    "an argument is neither a flag nor the value of one: flags are written --api.base-url=URL, "
    "and values with blanks are quoted"
)
# Kubernetes gives each pod the addresses of the services beside it, ours too: JOB_EXPORTER_PORT=tcp://…
_SERVICE_LINK = re.compile(
    r"JOB_EXPORTER(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9]+)*|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)="
    r"|JOB_EXPORTER(_[A-Z0-9]+)*_PORT=(tcp|udp|sctp)://"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One source: raw values by key (`api.base_url`), and the name of a setting in this source."""

    values: dict[str, Any]
    name: Callable[[SettingInfo], str]


def load(argv: Sequence[str], environ: Mapping[str, str], *, beside: Iterable[str] = ()) -> Settings:
    """Read flags (what follows the command's name), environment and settings file.

    `beside` names flags of the command that are no settings: a mistyped flag may be meant as one of them.

    Raises SettingsError, whose text is one line without any secret; never exits. A missing address of the
    platform is no error here: commands that need it ask `Settings.require_platform`.
    """
    flags = _Layer(values=_flags(argv, beside), name=lambda info: info.flag)
    variables = _Layer(values=_variables(environ), name=lambda info: info.env)
    layers = [flags, variables]
    if path := flags.values.get("config", variables.values.get("config")):
        layers.append(_Layer(values=_file(path), name=lambda info: f"{quote(path)}, key {info.key}"))
    nested: dict[str, Any] = {}
    for key, value in ChainMap(*(layer.values for layer in layers)).items():
        group, _, field = key.rpartition(".")
        (nested.setdefault(group, {}) if group else nested)[field] = value
    try:
        return Settings(**nested)
    except ValidationError as error:
        message = _explain(error, layers)
    raise SettingsError(message)  # outside of the handler: its traceback must not hold the input


class _Parser(ArgumentParser):
    """Raises SettingsError instead of ending the process."""

    def error(self, message: str) -> Never:
        raise SettingsError(f"{message}: write --flag=VALUE (and so when the value begins with a dash)")


def _flags(argv: Sequence[str], beside: Iterable[str]) -> dict[str, Any]:
    parser = _Parser(add_help=False, allow_abbrev=False)
    CliSettingsSource[Any](Settings, root_parser=parser, cli_kebab_case=True, cli_avoid_json=True)
    known, rest = parser.parse_known_args([_ours(argument) for argument in argv])
    values = vars(known)
    # The library also offers each group as one flag; that is no setting of ours.
    unknown = [key for key in values if key not in _BY_KEY]
    unknown += [argument[2:] for argument in rest if re.match(r"--\w", argument)]
    if unknown:
        name = word(unknown[0])
        near = nearest(name, (*(info.name for info in catalog()), *beside))
        raise SettingsError(f"unknown flag --{name}: the nearest known one is --{near}")
    if rest:
        raise SettingsError(STRAY)
    return values


def _ours(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return SPELLINGS.get(name, name) + equals + value


def _variables(environ: Mapping[str, str]) -> dict[str, Any]:
    known = {info.env: info for info in catalog()}
    for name in sorted(environ):
        is_ours = name.startswith(PREFIX) and not _SERVICE_LINK.match(f"{name}={environ[name]}")
        if is_ours and name not in known:
            raise SettingsError(
                f"unknown variable {quote(name)}: the nearest known one is {nearest(name, known)}"
            )
    return {info.key: environ[info.env] for info in catalog() if environ.get(info.env)}


class _TextLoader(yaml.BaseLoader):
    """YAML loader: scalars other than null stay text; a duplicate key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse duplicate keys: PyYAML would silently use the last one."""
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "duplicate key", node.start_mark)
        return mapping


_NULL = "tag:yaml.org,2002:null"
_TextLoader.add_implicit_resolver(_NULL, re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_TextLoader.add_constructor(_NULL, lambda _loader, _node: None)


def _file(path: str) -> dict[str, Any]:
    place = quote(path)
    document = _yaml(path, place)
    if not isinstance(document, dict):
        raise SettingsError(f"{place} is no mapping of settings: write groups such as api: {{base_url: URL}}")
    values: dict[str, Any] = {}
    for group, body in document.items():
        if group not in _GROUPS:
            _refuse_key(place, str(group))
        if body is not None and not isinstance(body, dict):
            raise SettingsError(
                f"{place}, key {group}: must hold settings, such as {group}: {{{_example(group)}: …}}"
            )
        for field, value in (body or {}).items():
            key = f"{group}.{field}"
            if key not in _BY_KEY:
                _refuse_key(place, key)
            if value is not None:
                values[key] = value
    return values


def _yaml(path: str, place: str) -> Any:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError(
            f"cannot read the settings file {place} ({error.strerror}): check --config or JOB_EXPORTER_CONFIG"
        ) from None
    except ValueError:
        raise SettingsError(f"the settings file {place} is not UTF-8 text: save it as such") from None
    reason = "it nests too deep"
    try:
        document = yaml.load(text, _TextLoader)  # noqa: S506  makes text, lists and mappings only
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        twice = error.problem == "duplicate key"
        # Other texts of the library may repeat a piece of a password.
        what = "duplicate key in the mapping" if twice else "not valid YAML"
        reason = f"{what} at line {mark.line + 1}, column {mark.column + 1}" if mark else what
    except yaml.YAMLError:
        reason = "it holds characters that YAML forbids"
    except RecursionError:
        pass
    else:
        return {} if document is None else document
    raise SettingsError(f"{place}: {reason}; correct it (values with any of : # * & ! % @ ` need quotes)")


def _explain(error: ValidationError, layers: Sequence[_Layer]) -> str:
    """Describe the first error: the flag, variable or key, what is wrong, how to fix it."""
    first = error.errors(include_url=False, include_input=False)[0]
    raised = first.get("ctx", {}).get("error")
    reason = str(raised) if raised is not None else first["msg"][:1].lower() + first["msg"][1:]
    info = _BY_KEY.get(".".join(str(part) for part in first["loc"][:2]))
    if info is None:  # a rule between several settings, which its text names
        return reason
    source = next(layer for layer in layers if info.key in layer.values)
    if raised is None and not info.secret:
        reason += f", not {quote(source.values[info.key])}"
    return f"{source.name(info)}: {reason}"


def _refuse_key(place: str, key: str) -> Never:
    names = [info.key for info in catalog() if info.group] if "." in key else sorted(_GROUPS)
    key = word(key)
    raise SettingsError(f"{place}: unknown key {key}: the nearest known one is {nearest(key, names)}")


def word(name: str) -> str:
    """Give the head of a mistyped name that can't be a value: `password:abc` without a blank holds one."""
    return re.split(r"[^\w.-]", name, maxsplit=1)[0]


def _example(group: str) -> str:
    return next(info.key for info in catalog() if info.group == group).partition(".")[2]


def nearest(name: str, known: Iterable[str]) -> str:
    """Find the most similar known name, also if only the group is missing."""

    def likeness(candidate: str) -> float:
        tail = re.split(r"\.|__", candidate)[-1]
        return max(
            difflib.SequenceMatcher(None, name.lower(), text.lower()).ratio() for text in (candidate, tail)
        )

    return max(known, key=likeness)
