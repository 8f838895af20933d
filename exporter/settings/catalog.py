"""The settings as a table: the source for `--help`, the documentation and the tests."""

import itertools
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from exporter.settings.groups import PREFIX, Settings

_HEAD = """\
Set each setting with a flag, an environment variable or a key of the YAML file named by --config (or
JOB_EXPORTER_CONFIG). A flag overrides a variable; a variable overrides the file. The same setting:
  --api.base-url=URL      JOB_EXPORTER_API__BASE_URL=URL      api: {base_url: URL}
Durations: 15s, 5m, 24h, 30d, 1h30m or plain seconds. Sizes: 64MiB, 64MB or plain bytes. Flags marked
with + may be repeated; in a variable, separate the values with commas (headers: with line breaks); in
the file, write a list. An empty variable counts as not set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingInfo:
    """The documentation of one setting."""

    name: str  # api.base-url; the flag without its dashes
    env: str  # JOB_EXPORTER_API__BASE_URL
    key: str  # api.base_url: its place in the YAML file, and the path of its attribute
    kind: str  # type of the value: duration, size, url, file, number, …
    wrong: str  # what to say of a value of another type, after the value; "": what pydantic says
    default: str  # as a user would write it; "": no default
    description: str  # a sentence with its unit
    secret: bool  # its value is never shown
    repeatable: bool  # takes several values

    @property
    def flag(self) -> str:
        """The flag, such as `--api.base-url`."""
        return f"--{self.name}"

    @property
    def group(self) -> str:
        """The group, such as `api`; "" for `config`, which has no group."""
        return self.key.rpartition(".")[0]


@cache
def catalog() -> tuple[SettingInfo, ...]:
    """All settings, in the order of the documentation."""
    return tuple(_of_model(Settings, ""))


def help_text() -> str:
    """Text for `--help`: all settings by group, with default and description; ends with a newline."""
    lines = [_HEAD]
    for group, infos in itertools.groupby(catalog(), key=lambda info: info.group):
        lines += ["", group] if group else [""]
        for info in infos:
            kind = info.kind.upper() if info.kind.isalpha() else info.kind
            default = f" Default: {info.default}" if info.default else ""
            lines.append(f"  {info.flag}={kind}{' +' if info.repeatable else ''}")
            text = textwrap.fill(
                info.description + default, 92, break_long_words=False, break_on_hyphens=False
            )
            lines.append(textwrap.indent(text, " " * 8))
    return "\n".join(lines) + "\n"


def _of_model(model: type[BaseModel], group: str) -> Iterator[SettingInfo]:
    for field, info in model.model_fields.items():
        key = f"{group}{field}"
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _of_model(info.annotation, f"{key}.")
            continue
        kind, wrong = _kind(info)
        yield SettingInfo(
            name=key.replace("_", "-"),
            env=PREFIX + key.replace(".", "__").upper(),
            key=key,
            kind=kind,
            wrong=wrong,
            default=info.default or "",
            description=" ".join((info.description or "").split()),
            secret=_holds_secret(info.annotation),
            repeatable=get_origin(info.annotation) is tuple,
        )


def _kind(info: FieldInfo) -> tuple[str, str]:
    """What values of a type are called, and what is wrong with others: the texts that `parsers` give."""
    kind, wrong, *_ = [text for text in info.metadata if isinstance(text, str)] + ["", ""]
    if get_origin(info.annotation) is Literal:
        kind = "|".join(get_args(info.annotation))
    return kind or ("number" if info.annotation in (int, float) else "text"), wrong


def _holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_holds_secret(part) for part in get_args(annotation))
