"""The settings as a table: what `--help`, the documents and the tests are made from."""

import itertools
import textwrap
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

from exporter.settings.groups import Settings

PREFIX = "JOB_EXPORTER_"

_HEAD = """\
Every setting is a flag, an environment variable and a key of the YAML file that --config (or
JOB_EXPORTER_CONFIG) names; a flag goes before a variable, a variable before the file. The same thrice:
  --api.base-url=URL      JOB_EXPORTER_API__BASE_URL=URL      api: {base_url: URL}
Durations read 15s, 5m, 24h, 30d, 1h30m or plain seconds; sizes 64MiB, 64MB or plain bytes. A flag
marked with + may be repeated; in a variable its values are apart by commas (headers by line ends),
in the file they are a list. An empty variable counts as not set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingInfo:
    """One setting, as it is documented."""

    name: str  # api.base-url; the flag without its dashes
    env: str  # JOB_EXPORTER_API__BASE_URL
    key: str  # api.base_url: its place in the YAML file, and the path of its attribute
    kind: str  # what to write: duration, size, url, file, number, …
    default: str  # as a user would write it; "" is none
    description: str  # a sentence with its unit
    secret: bool  # its value is never shown
    repeatable: bool  # takes several values

    @property
    def flag(self) -> str:
        """Give the flag, such as `--api.base-url`."""
        return f"--{self.name}"

    @property
    def group(self) -> str:
        """Give the group, such as `api`; "" for `config`, which stands alone."""
        return self.key.rpartition(".")[0]


@cache
def catalog() -> tuple[SettingInfo, ...]:
    """Give every setting, in the order of the documentation."""
    return tuple(_of_model(Settings, ""))


def help_text(width: int = 100) -> str:
    """Tell every setting with its default and meaning, grouped, for `--help`; ends with a line end."""
    wrapper = textwrap.TextWrapper(
        width,
        initial_indent=" " * 8,
        subsequent_indent=" " * 8,
        break_long_words=False,
        break_on_hyphens=False,
    )
    lines = [_HEAD]
    for group, infos in itertools.groupby(catalog(), key=lambda info: info.group):
        lines += ["", group] if group else [""]
        for info in infos:
            kind = info.kind.upper() if info.kind.isalpha() else info.kind
            default = f" Default: {info.default}" if info.default else ""
            lines.append(f"  {info.flag}={kind}{' +' if info.repeatable else ''}")
            lines.append(wrapper.fill(info.description + default))
    return "\n".join(lines) + "\n"


def _of_model(model: type[BaseModel], group: str) -> list[SettingInfo]:
    infos: list[SettingInfo] = []
    for field, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            infos += _of_model(info.annotation, f"{field}.")
            continue
        extra: Any = info.json_schema_extra
        key = f"{group}{field}"
        infos.append(
            SettingInfo(
                name=key.replace("_", "-"),
                env=PREFIX + key.replace(".", "__").upper(),
                key=key,
                default=info.default or "",
                description=info.description or "",
                **extra,
            )
        )
    return infos
