"""Flags of a command that are not settings. Each error is one line with advice."""

import argparse
from collections.abc import Sequence

from exporter.settings import STRAY, SettingsError, nearest, word
from exporter.settings.parsers import duration


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


def duration_flag(text: str) -> float:
    """Parse the value of a flag as a duration, in seconds: a `type` for argparse."""
    try:
        return duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
