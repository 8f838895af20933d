"""Reads flags, environment and settings file, in this precedence; each error is one line with its source.

All three give text, so that one text means the same in all of them. pydantic-settings merges the sources, and
pydantic checks the result.
"""

import re
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource, InitSettingsSource
from pydantic_settings import PydanticBaseSettingsSource as Source

from exporter.settings.catalog import SettingInfo, catalog
from exporter.settings.flags import parsed_some, refuse
from exporter.settings.groups import PREFIX, Settings, SettingsError
from exporter.settings.text import YamlError, nearest, quote, read_yaml, word

_BY_KEY = {info.key: info for info in catalog()}
_GROUPS = {info.group for info in catalog() if info.group}
# What users of other exporters type.
SPELLINGS = {"--config.file": "--config", "--web.config.file": "--web.config-file"}
# Kubernetes gives each pod the addresses of the services beside it, ours too: JOB_EXPORTER_PORT=tcp://…
_SERVICE_LINK = re.compile(
    r"JOB_EXPORTER(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9]+)*|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)="
    r"|JOB_EXPORTER(_[A-Z0-9]+)*_PORT=(tcp|udp|sctp)://"
)
_LIMITS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")  # errors of pydantic


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One source, and the name of a setting in it."""

    source: Source
    name: Callable[[SettingInfo], str]

    def value(self, info: SettingInfo) -> Any:
        """What the source gives for a setting; None: nothing."""
        values = self.source()
        return (values.get(info.group, {}) if info.group else values).get(info.key.rpartition(".")[2])


def load(argv: Sequence[str], environ: Mapping[str, str], *, beside: Iterable[str] = ()) -> Settings:
    """Read flags (what follows the command's name), environment and settings file.

    `beside` names flags of the command that are not settings: a mistyped flag may be meant as one of them.

    Raises SettingsError, whose text is one line without any secret; never exits. A missing address of the
    platform is no error here: commands that need it call `Settings.require_platform`.
    """
    flags = _Layer(source=_flags(argv, beside), name=lambda info: info.flag)
    variables = _Layer(source=_variables(environ), name=lambda info: info.env)
    layers = [flags, variables]
    if path := flags.source().get("config", variables.source().get("config")):
        layers.append(_Layer(source=_file(path), name=lambda info: f"{quote(path)}, key {info.key}"))
    sources: dict[str, Any] = {"sources": [layer.source for layer in layers]}
    try:
        return Settings(**sources)
    except ValidationError as error:
        message = _explain(error, layers)
    raise SettingsError(message)  # outside of the handler: its traceback must not hold the input


def _source(values: Mapping[str, Any]) -> Source:
    """A source of values by key, such as `api.base_url`."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        group, _, field = key.rpartition(".")
        (nested.setdefault(group, {}) if group else nested)[field] = value
    return InitSettingsSource(Settings, nested)


def _flags(argv: Sequence[str], beside: Iterable[str]) -> Source:
    parser = ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False, argument_default=SUPPRESS
    )
    for info in catalog():
        others = [other for other, flag in SPELLINGS.items() if flag == info.flag]
        action = "append" if info.repeatable else "store"
        parser.add_argument(info.flag, *others, dest=info.key, action=action)
    given, rest = parsed_some(parser, argv)
    refuse(rest, (*(info.name for info in catalog()), *beside))
    return _source(vars(given))


def _variables(environ: Mapping[str, str]) -> Source:
    known = {info.env for info in catalog()}
    for name, value in sorted(environ.items()):
        if name.startswith(PREFIX) and name not in known and not _SERVICE_LINK.match(f"{name}={value}"):
            near = nearest(name, known)
            raise SettingsError(f"unknown variable {quote(name)}: the nearest known one is {near}")
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): environ[name] for name in known if environ.get(name)}
    return source


def _file(path: str) -> Source:
    place = quote(path)
    document = _document(path, place)
    if not isinstance(document, dict):
        raise SettingsError(f"{place} is no mapping of settings: write groups such as api: {{base_url: URL}}")
    values: dict[str, Any] = {}
    for group, body in document.items():
        if group not in _GROUPS:
            raise _unknown_key(place, group, _GROUPS)
        if not isinstance(body, dict | None):
            example = next(info.key for info in catalog() if info.group == group).partition(".")[2]
            raise SettingsError(
                f"{place}, key {group}: must hold settings, such as {group}: {{{example}: …}}"
            )
        values |= {f"{group}.{field}": value for field, value in (body or {}).items()}
    for key in values.keys() - _BY_KEY.keys():
        raise _unknown_key(place, key, (known for known in _BY_KEY if "." in known))
    return _source({key: value for key, value in values.items() if value is not None})


def _document(path: str, place: str) -> Any:
    try:
        return read_yaml(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(
            f"cannot read the settings file {place} ({error.strerror}): check --config or JOB_EXPORTER_CONFIG"
        ) from None
    except ValueError:
        raise SettingsError(f"the settings file {place} is not UTF-8 text: save it as such") from None
    except YamlError as error:
        raise SettingsError(f"{place}: {error}") from None


def _unknown_key(place: str, key: str, known: Iterable[str]) -> SettingsError:
    key = word(key)
    return SettingsError(f"{place}: unknown key {key}: the nearest known one is {nearest(key, known)}")


def _explain(error: ValidationError, layers: Sequence[_Layer]) -> str:
    """Describe the first error: the flag, variable or key, what is wrong, how to fix it."""
    first = error.errors(include_url=False, include_input=False)[0]
    raised = first.get("ctx", {}).get("error")
    reason = str(raised) if raised is not None else first["msg"][:1].lower() + first["msg"][1:]
    info = _BY_KEY.get(".".join(str(part) for part in first["loc"][:2]))
    if info is None:  # a rule between several settings, which its text names
        return reason
    layer = next(layer for layer in layers if layer.value(info) is not None)
    given = layer.value(info)
    given = given[0] if info.repeatable and isinstance(given, list) and len(given) == 1 else given
    value = "the value" if info.secret else quote(given)
    if info.wrong and first["type"] not in _LIMITS:
        reason = f"{value} {info.wrong}"
    elif raised is None and not info.secret:
        reason += f", not {value}"
    return f"{layer.name(info)}: {reason}"
