"""All that can be set: the only reader of the environment, the settings file and the flags.

`load` turns the three into one frozen `Settings`; `catalog` and `help_text` tell what there is. Imports
nothing of ours. The parts, each importing only those before it:

parsers  text → value (durations, sizes, addresses, URLs); PURE but for a look at files that are named
groups   the settings themselves: names, types, defaults with their reasons, rules between them
catalog  the same as a table, for `--help`, the documents and the tests
reading  flags over environment over file; every error as one line that says where it came from

Constructed directly, `Settings(...)` reads nothing but its arguments.
"""

from exporter.settings.catalog import SettingInfo, catalog, help_text
from exporter.settings.groups import (
    ApiSettings,
    LogSettings,
    MetricsSettings,
    PollSettings,
    Settings,
    SettingsError,
    StateSettings,
    WebSettings,
)
from exporter.settings.parsers import ListenAddress
from exporter.settings.reading import SPELLINGS, STRAY, load, nearest, word

__all__ = [
    "SPELLINGS",
    "STRAY",
    "ApiSettings",
    "ListenAddress",
    "LogSettings",
    "MetricsSettings",
    "PollSettings",
    "SettingInfo",
    "Settings",
    "SettingsError",
    "StateSettings",
    "WebSettings",
    "catalog",
    "help_text",
    "load",
    "nearest",
    "word",
]
