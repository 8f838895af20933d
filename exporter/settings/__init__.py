"""Settings: the only package that reads the environment, the settings file and the flags.

`load` merges the three sources into one frozen `Settings`; `catalog` and `help_text` describe all settings.
Imports no other package of the exporter. The modules; each imports only those above it:

parsers  text → value (durations, sizes, addresses, URLs); pure, except that it checks named files
groups   the settings: names, types, defaults with their reasons, rules between settings
catalog  the settings as a table, for `--help`, the documentation and the tests
reading  precedence (flag, environment, file); each error is one line that names its source

`Settings(...)` called directly reads only its arguments.
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
