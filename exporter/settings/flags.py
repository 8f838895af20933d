"""Parses flags, of settings and of commands. Each error is one line with advice and repeats no value."""

import argparse
import re
from collections.abc import Sequence
from functools import partial

from exporter.settings.groups import SettingsError
from exporter.settings.parsers import duration
from exporter.settings.text import nearest, word

# The flags of a command. An argument that is no flag has a name in capitals.
FlagParser = partial(
    argparse.ArgumentParser, add_help=False, allow_abbrev=False, exit_on_error=False, usage=""
)
# The argument itself may be the second half of a password with a blank.
STRAY = (
    "an argument is neither a flag nor the value of one: flags are written --api.base-url=URL, "
    "and values with blanks are quoted"
)


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse all flags. Raises SettingsError."""
    try:
        given, rest = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        is_missing = error.message.startswith("expected")
        advice = ": write --flag=VALUE (also if the value begins with a dash)" if is_missing else ""
        raise SettingsError(f"{error.argument_name}: {error.message}{advice}") from None
    if unknown := [argument[2:] for argument in rest if re.match(r"--\w", argument)]:
        name = word(unknown[0])
        known = [flag.replace("_", "-") for flag in vars(given) if not flag.isupper()]
        raise SettingsError(f"unknown flag --{name}: the nearest known one is --{nearest(name, known)}")
    if rest:
        raise SettingsError(STRAY)
    return given


def duration_flag(text: str) -> float:
    """Parse the value of a flag as a duration, in seconds: a `type` for argparse."""
    try:
        return duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
