"""Flags of a command beside the settings: what is wrong ends in one line that says what to write."""

import argparse
from collections.abc import Sequence

from exporter.settings import STRAY, SettingsError, nearest, word


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Read flags of which all must be known. Raises SettingsError."""
    given, rest = parsed_some(parser, argv)
    if rest:
        name = word(rest[0])
        if not name.startswith("-"):
            raise SettingsError(STRAY)
        near = nearest(name.removeprefix("--"), names(given))
        raise SettingsError(f"unknown flag {name}: the nearest known one is --{near}")
    return given


def parsed_some(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Read the flags that are known; the rest are settings. Raises SettingsError."""
    try:
        return parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise SettingsError(f"{error.argument_name}: {error.message}") from None


def names(given: argparse.Namespace) -> list[str]:
    """The flags that were read, without their dashes."""
    return [flag.replace("_", "-") for flag in vars(given)]
