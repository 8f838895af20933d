"""Parses flags, of settings and of commands. Each error is one line with advice and repeats no value."""

import argparse
import re
from collections.abc import Iterable, Sequence

from exporter.settings.groups import SettingsError
from exporter.settings.parsers import duration
from exporter.settings.text import nearest, word

# The argument itself may be the second half of a password with a blank.
STRAY = (
    "an argument is neither a flag nor the value of one: flags are written --api.base-url=URL, "
    "and values with blanks are quoted"
)


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse all flags. Raises SettingsError."""
    given, rest = parsed_some(parser, argv)
    refuse(rest, names(given))
    return given


def parsed_some(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parse the known flags; return the remaining arguments. Raises SettingsError."""
    try:
        return parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        is_missing = error.message.startswith("expected")
        advice = ": write --flag=VALUE (also if the value begins with a dash)" if is_missing else ""
        raise SettingsError(f"{error.argument_name}: {error.message}{advice}") from None


def refuse(rest: Sequence[str], known: Iterable[str]) -> None:
    """Raise SettingsError if arguments remain; `known` are the names of flags, without dashes."""
    if unknown := [argument[2:] for argument in rest if re.match(r"--\w", argument)]:
        name = word(unknown[0])
        raise SettingsError(f"unknown flag --{name}: the nearest known one is --{nearest(name, known)}")
    if rest:
        raise SettingsError(STRAY)


def names(given: argparse.Namespace) -> list[str]:
    """Names of the parsed flags, without dashes."""
    return [flag.replace("_", "-") for flag in vars(given)]


def duration_flag(text: str) -> float:
    """Parse the value of a flag as a duration, in seconds: a `type` for argparse."""
    try:
        return duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
