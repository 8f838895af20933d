"""Flags of a command that are not settings. Each error is one line with advice."""

import argparse
from collections.abc import Sequence

from exporter.settings import STRAY, SettingsError
from exporter.settings.text import nearest, word


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse flags. Raises SettingsError for an unknown flag."""
    given, rest = parsed_some(parser, argv)
    if rest:
        name = word(rest[0])
        if not name.startswith("-"):
            raise SettingsError(STRAY)
        near = nearest(name.removeprefix("--"), names(given))
        raise SettingsError(f"unknown flag {name}: the nearest known one is --{near}")
    return given


def parsed_some(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parse the known flags; return the remaining arguments, which are settings. Raises SettingsError."""
    try:
        return parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise SettingsError(f"{error.argument_name}: {error.message}") from None


def names(given: argparse.Namespace) -> list[str]:
    """Names of the parsed flags, without dashes."""
    return [flag.replace("_", "-") for flag in vars(given)]
