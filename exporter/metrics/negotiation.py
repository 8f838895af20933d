"""The format and encoding of a scrape, chosen by its Accept headers as in RFC 9110. PURE.

No header is an error: unreadable parts are ignored, and without a match the answer is text, uncompressed.
prometheus-client's own negotiation raises on some headers, such as `version=abc`.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import lru_cache


class Format(StrEnum):
    """The content types, in order of preference if a client accepts several equally."""

    OPENMETRICS_1_0_0 = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    OPENMETRICS_0_0_1 = "application/openmetrics-text; version=0.0.1; charset=utf-8"  # the same text
    TEXT = "text/plain; version=0.0.4; charset=utf-8"


# A separator inside a quoted string does not separate; a quote without an end reaches to the end.
_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_PARAMETER = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*"?)+')
_QUALITY = re.compile(r"0(\.[0-9]*)?|1(\.0*)?")
_Range = tuple[str, Mapping[str, str], float]  # name, parameters, quality


@lru_cache  # reading the headers of Prometheus takes 40 µs
def choose_format(accept: str) -> Format:
    """Return the format that `accept` (the Accept header, "" if there is none) ranks highest.

    Among formats of equal quality, a named one comes before one that only a wildcard covers; then the richer
    one. A mere wildcard most often means a browser, which gets text.
    """
    ranges = tuple(_elements(accept))

    def rank(offer: Format) -> tuple[float, bool, bool]:
        quality, is_named = _quality_of(offer, ranges)
        return quality, is_named, offer is Format.TEXT and not is_named

    best = max(Format, key=rank)  # the first of equals
    return best if rank(best)[0] > 0 else Format.TEXT


@lru_cache
def accepts_gzip(accept_encoding: str) -> bool:
    """Tell whether the Accept-Encoding header ranks gzip at least as high as no compression."""
    qualities = {name: quality for name, _, quality in _elements(accept_encoding)}
    gzip = qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0.0)))
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)


def _elements(header: str) -> Iterator[_Range]:
    """Read a list of `name;parameter=value;q=0.5`; skip elements with a malformed q."""
    for element in _ELEMENT.findall(header):
        name, *rest = _PARAMETER.findall(element) or [""]
        parameters = {}
        for parameter in rest:
            key, _, value = parameter.partition("=")
            parameters[key.strip().lower()] = value.strip().strip('"')
        quality = parameters.pop("q", "1")
        if _QUALITY.fullmatch(quality):
            yield name.strip().lower(), parameters, float(quality)


def _quality_of(offer: Format, ranges: tuple[_Range, ...]) -> tuple[float, bool]:
    """Return the quality of `offer` by the most specific range that covers it, and whether that names it."""
    media_type, version, _ = offer.split("; ")
    best = (-1, 0.0)
    for name, parameters, quality in ranges:
        wanted = parameters.get("version")
        if name == media_type and wanted in {None, version.removeprefix("version=")}:
            best = max(best, (2 if wanted is None else 3, quality))
        elif name == media_type.partition("/")[0] + "/*":
            best = max(best, (1, quality))
        elif name in {"*/*", "*"}:
            best = max(best, (0, quality))
    specificity, quality = best
    return quality, specificity >= 2
