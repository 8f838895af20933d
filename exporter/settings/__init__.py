"""Settings: the only package that reads the environment, the settings file and the flags.

`load` merges the three sources into one frozen `Settings`; `catalog` and `help_text` describe all settings.
Values are checked here and nowhere else. Imports no other package of the exporter. The modules; each imports
only those above it:

text     names and YAML text: the nearest known name, errors that repeat no secret
parsers  the types of the settings: text → value
groups   the settings: names, types, defaults with their reasons, rules between settings
catalog  the settings as a table, for `--help`, the documentation and the tests
reading  parses flags; precedence (flag, environment, file); each error is one line that names its source
"""

from exporter.settings.catalog import catalog, help_text
from exporter.settings.groups import (
    ApiSettings,
    MetricsSettings,
    Settings,
    SettingsError,
    StateSettings,
    WebSettings,
)
from exporter.settings.parsers import ListenAddress
from exporter.settings.reading import SPELLINGS, load, load_with

__all__ = [
    "SPELLINGS",
    "ApiSettings",
    "ListenAddress",
    "MetricsSettings",
    "Settings",
    "SettingsError",
    "StateSettings",
    "WebSettings",
    "catalog",
    "help_text",
    "load",
    "load_with",
]
