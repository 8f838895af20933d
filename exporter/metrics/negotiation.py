"""Which format and encoding a scraper gets: its Accept headers, read as RFC 9110 says. PURE.

Nothing a client sends is an error: what cannot be understood is ignored, and what is left without an answer
gets the text format, uncompressed.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import lru_cache


class Format(StrEnum):
    """The content types that can be given, in the order of our liking where the client names several."""

    OPENMETRICS_1_0_0 = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    OPENMETRICS_0_0_1 = "application/openmetrics-text; version=0.0.1; charset=utf-8"  # the same text
    TEXT = "text/plain; version=0.0.4; charset=utf-8"


_TYPES = {
    Format.OPENMETRICS_1_0_0: ("application", "openmetrics-text", "1.0.0"),
    Format.OPENMETRICS_0_0_1: ("application", "openmetrics-text", "0.0.1"),
    Format.TEXT: ("text", "plain", "0.0.4"),
}

# A separator inside a quoted string does not separate; an unended quote reaches to the end.
_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_PARAMETER = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*"?)+')
_QUALITY = re.compile(r"0(\.[0-9]*)?|1(\.0*)?")
# A handful of scrapers send the same headers over and over.
_REMEMBERED = 64


@lru_cache(maxsize=_REMEMBERED)
def choose_format(accept: str) -> Format:
    """Give the format that `accept` (the Accept header, "" if there is none) ranks highest.

    Among formats of equal quality one that is named comes before one that only a wildcard covers, and of
    these the richer one; behind a mere wildcard is most often a person, who gets text.
    """
    ranges = tuple(_elements(accept))
    best, best_rank = Format.TEXT, (0.0, False, False, 0)
    for liking, offer in enumerate(reversed(Format)):
        quality, named = _quality_of(offer, ranges)
        rank = (quality, named, offer is Format.TEXT and not named, liking)
        if quality > 0 and rank > best_rank:
            best, best_rank = offer, rank
    return best


@lru_cache(maxsize=_REMEMBERED)
def accepts_gzip(accept_encoding: str) -> bool:
    """Tell whether gzip is wanted at least as much as no compression by the Accept-Encoding header."""
    qualities = {name: quality for name, _, quality in _elements(accept_encoding)}
    anything = qualities.get("*", 0.0)
    gzip = qualities.get("gzip", qualities.get("x-gzip", anything))
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)


Range = tuple[str, Mapping[str, str], float]


def _elements(header: str) -> Iterator[Range]:
    """Read a list of `name;parameter=value;q=0.5`; elements whose q is malformed are passed over."""
    for element in _ELEMENT.findall(header):
        name, *rest = _PARAMETER.findall(element) or [""]
        parameters = {}
        for parameter in rest:
            key, _, value = parameter.partition("=")
            parameters[key.strip().lower()] = value.strip().strip('"')
        quality = parameters.pop("q", "1")
        if _QUALITY.fullmatch(quality):
            yield name.strip().lower(), parameters, float(quality)


def _quality_of(offer: Format, ranges: tuple[Range, ...]) -> tuple[float, bool]:
    """Give the quality of `offer` by the most specific range that covers it, and whether that names it."""
    kind, subtype, version = _TYPES[offer]
    best = (-1, 0.0)
    for name, parameters, quality in ranges:
        asked = parameters.get("version")
        if name == f"{kind}/{subtype}" and asked in {None, version}:
            best = max(best, (2 if asked is None else 3, quality))
        elif name == f"{kind}/*":
            best = max(best, (1, quality))
        elif name in {"*/*", "*"}:
            best = max(best, (0, quality))
    specificity, quality = best
    return quality, specificity >= 2
