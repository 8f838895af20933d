"""Settings: the only package that reads the environment, the settings file and the flags.

`load` merges the three sources into one frozen `Settings`; `catalog` and `help_text` describe all settings.
Values are checked here and nowhere else. Imports no other package of the exporter. Each module imports only
those before it: text, parsers, groups, catalog, reading.
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
