"""Reads flags, environment and settings file, in this precedence; each error is one line with its source.

All three give text, so that one text means the same in all of them. pydantic-settings merges the sources, and
pydantic checks the result. Errors about flags repeat no value.
"""

import re
from argparse import ArgumentError, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from exporter.settings.catalog import catalog
from exporter.settings.groups import PREFIX, Settings, SettingsError
from exporter.settings.parsers import duration
from exporter.settings.text import YamlError, nearest, quote, read_yaml, word

_BY_KEY = {info.key: info for info in catalog()}
_GROUPS = {info.group for info in catalog() if info.group}
# What users of other exporters type.
SPELLINGS = {"--config.file": "--config", "--web.config.file": "--web.config-file"}
# Kubernetes gives each pod the addresses of the services beside it, ours too: JOB_EXPORTER_PORT=tcp://…
_SERVICE_LINK = re.compile(
    r"JOB_EXPORTER_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)="
    r"|JOB_EXPORTER_(\w+_)?PORT=(tcp|udp|sctp)://"
)


# The flags of a command. An argument that is no flag has a name in capitals.
FlagParser = partial(ArgumentParser, add_help=False, allow_abbrev=False, exit_on_error=False, usage="")
# The argument itself may be the second half of a password with a blank.
STRAY = (
    "an argument is neither a flag nor the value of one: flags are written --api.base-url=URL, "
    "and values with blanks are quoted"
)

# By key, such as `api.base_url`: where the value is given, and the value.
_Values = dict[str, tuple[str, Any]]


def load(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Read flags (what follows the command's name), environment and settings file.

    Raises SettingsError, whose text is one line without any secret; never exits. A missing address of the
    platform is no error here: commands that need it call `Settings.require_platform`.
    """
    return load_with(FlagParser(), argv, environ)[1]


def load_with(
    parser: ArgumentParser, argv: Sequence[str], environ: Mapping[str, str]
) -> tuple[Namespace, Settings]:
    """Like `load`, for a command with flags of its own: `parser` has them, and gets those of the settings."""
    for info in catalog():
        others = [other for other, flag in SPELLINGS.items() if flag == info.flag]
        action = "append" if info.repeatable else "store"
        parser.add_argument(info.flag, *others, dest=info.key, action=action)
    given = parse(parser, argv)
    flags = {
        info.key: (info.flag, value) for info in catalog() if (value := getattr(given, info.key)) is not None
    }
    variables = _variables(environ)
    _, path = (variables | flags).get("config", ("", ""))
    file = _file(path) if path else {}
    sources: dict[str, Any] = {"sources": tuple(map(_source, (flags, variables, file)))}
    try:
        return given, Settings(**sources)
    except ValidationError as error:
        message = _explain(error, file | variables | flags)
    raise SettingsError(message)  # outside of the handler: its traceback must not hold the input


def _source(values: _Values) -> EnvSettingsSource:
    """Give values of any origin as variables, whose names say the place of each in the settings."""
    source = EnvSettingsSource(Settings)
    source.env_vars = {_BY_KEY[key].env.lower(): value for key, (_, value) in values.items()}
    return source


def parse(parser: ArgumentParser, argv: Sequence[str]) -> Namespace:
    """Parse all flags. Raises SettingsError."""
    try:
        given, rest = parser.parse_known_args(argv)
    except ArgumentError as error:
        is_missing = error.message.startswith("expected")
        advice = ": write --flag=VALUE (also if the value begins with a dash)" if is_missing else ""
        raise SettingsError(f"{error.argument_name}: {error.message}{advice}") from None
    if unknown := [argument[2:] for argument in rest if re.match(r"--\w", argument)]:
        name = word(unknown[0])
        known = [flag.replace("_", "-") for flag in vars(given) if not flag.isupper()]
        raise SettingsError(f"unknown flag --{name}: the nearest known one is --{nearest(name, known)}")
    if rest:
        raise SettingsError(STRAY)
    return given


def duration_flag(text: str) -> float:
    """Parse the value of a flag as a duration, in seconds: a `type` for argparse."""
    try:
        return duration(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _variables(environ: Mapping[str, str]) -> _Values:
    known = {info.env: info.key for info in catalog()}
    for name, value in sorted(environ.items()):
        if name.startswith(PREFIX) and name not in known and not _SERVICE_LINK.match(f"{name}={value}"):
            near = nearest(name, known)
            raise SettingsError(f"unknown variable {quote(name)}: the nearest known one is {near}")
    return {key: (name, environ[name]) for name, key in known.items() if environ.get(name)}


def _file(path: str) -> _Values:
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
    return {key: (f"{place}, key {key}", value) for key, value in values.items() if value is not None}


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


def _explain(error: ValidationError, values: _Values) -> str:
    """Describe the first error: the flag, variable or key, what is wrong, how to fix it."""
    first = error.errors(include_url=False, include_input=False)[0]
    raised = first.get("ctx", {}).get("error")
    reason = str(raised) if raised is not None else first["msg"][:1].lower() + first["msg"][1:]
    info = _BY_KEY.get(".".join(str(part) for part in first["loc"][:2]))
    if info is None:  # a rule between several settings, which its text names
        return reason
    place, given = values[info.key]
    given = given[0] if info.repeatable and isinstance(given, list) and len(given) == 1 else given
    value = "the value" if info.secret else quote(given)
    if info.wrong and "_than" not in first["type"]:  # pydantic tells of a limit, such as less_than_equal
        reason = f"{value} {info.wrong}"
    elif raised is None and not info.secret:
        reason += f", not {value}"
    return f"{place}: {reason}"
