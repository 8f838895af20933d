"""Which format and encoding a scraper gets, for the headers that scrapers, people and fuzzers send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.metrics.negotiation import Format, accepts_gzip, choose_format

TEXT, OM1, OM0 = Format.TEXT, Format.OPENMETRICS_1_0_0, Format.OPENMETRICS_0_0_1
OM = "application/openmetrics-text"

PROMETHEUS_2 = f"{OM};version=1.0.0,{OM};version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
PROMETHEUS_3 = (
    f"{OM};version=1.0.0;escaping=allow-utf-8;q=0.6,{OM};version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,"
    f"{OM};version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"

FORMATS = [
    # who asks
    ("", TEXT),
    ("*/*", TEXT),
    ("*", TEXT),
    (BROWSER, TEXT),
    (PROMETHEUS_2, OM1),
    (PROMETHEUS_3, OM1),
    (PROTOBUF, OM1),
    # versions
    ("text/plain", TEXT),
    ("text/plain;version=0.0.4", TEXT),
    ("text/plain; version=0.0.4; charset=utf-8", TEXT),
    ("text/plain;version=1.0.0", TEXT),
    (OM, OM1),
    (f"{OM};version=1.0.0", OM1),
    (f"{OM};version=0.0.1", OM0),
    (f'{OM};version="1.0.0"', OM1),
    (f"{OM};version=0.0.1,{OM};version=1.0.0", OM1),
    (f"{OM};version=0.0.1,{OM};version=1.0.0;q=0.9", OM0),
    (f"{OM};version=2.0.0", TEXT),
    (f"{OM};version=2.0.0,{OM};version=0.0.1;q=0.1", OM0),
    (f"{OM};version=abc", TEXT),
    (f"{OM};version=", TEXT),
    (f"{OM};version", TEXT),
    (f"{OM};version=1.0", TEXT),
    # case and blanks
    ("Application/OpenMetrics-Text ; Version=1.0.0 ; Q=0.5", OM1),
    (f" ,, {OM} ,", OM1),
    # quality
    (f"{OM};q=0.5,text/plain;q=0.9", TEXT),
    (f"{OM};q=0.9,text/plain;q=0.5", OM1),
    (f"text/plain,{OM}", OM1),
    (f"{OM},text/plain", OM1),
    (f"text/plain;q=1.000,{OM};q=0.999", TEXT),
    (f"{OM};q=0", TEXT),
    (f"{OM};q=0,*/*", TEXT),
    (f"text/plain;q=0,{OM};q=0.1", OM1),
    ("text/plain;q=0,*/*;q=0.1", OM1),
    ("*/*;q=0", TEXT),
    (f"{OM};version=1.0.0;q=0,{OM};q=0.5", OM0),
    (f"{OM};q=0.2,{OM};version=1.0.0;q=0.8,text/plain;q=0.5", OM1),
    (f"{OM};q=abc,text/plain;q=0.1", TEXT),
    (f"{OM};q=1.5,text/plain;q=0.1", TEXT),
    (f"{OM};q=-1", TEXT),
    (f"{OM};q=,text/plain;q=0.1", TEXT),
    (f"{OM};q=nan", TEXT),
    (f"{OM};q=٠.٥", TEXT),
    # wildcards
    ("application/*", OM1),
    ("text/*", TEXT),
    ("text/*;q=0.5,application/*", OM1),
    ("application/*;q=0.5,text/*;q=0.5", TEXT),
    (f"*/*,{OM}", OM1),
    ("*/*,text/plain", TEXT),
    (f"*/*;q=1,{OM};q=0.5", TEXT),
    ("image/*", TEXT),
    # what else comes along
    (f"{OM};escaping=underscores", OM1),
    (f"{OM};escaping=nonsense;version=1.0.0", OM1),
    (f'{OM};note="a,b;q=0";q=0.9,text/plain;q=0.5', OM1),
    (f'{OM};note="never ends, text/plain', OM1),
    (f'{OM};note="a\\"b;q=0";q=0.9,text/plain;q=0.5', OM1),
    (";;;", TEXT),
    (";q=1", TEXT),
    ("/", TEXT),
    ("\0\\", TEXT),
]


@pytest.mark.parametrize(("accept", "chosen"), FORMATS)
def test_the_format_follows_the_accept_header(accept: str, chosen: Format) -> None:
    """The highest quality wins, by the most specific range; unreadable parts are ignored."""
    assert choose_format(accept) is chosen


ENCODINGS = [
    ("", False),
    ("gzip", True),
    ("GZIP", True),
    ("x-gzip", True),
    ("gzip, deflate, br", True),
    ("deflate, gzip;q=1.0, *;q=0.5", True),
    ("br;q=1.0, gzip;q=0.2", True),
    ("gzip;q=0", False),
    ("gzip;q=0.000", False),
    ("gzip;q=0, *", False),
    ("identity", False),
    ("identity, gzip", True),
    ("identity;q=1, gzip;q=0.5", False),
    ("identity;q=0.5, gzip;q=1", True),
    ("identity;q=0", False),
    ("identity;q=0, gzip", True),
    ("*", True),
    ("*;q=0", False),
    ("*;q=0, gzip", True),
    ("deflate", False),
    ("gzip;q=abc", False),
    ("gzip;q=2", False),
    ("gzipped", False),
    (", ,gzip", True),
    ("gzip;level=9", True),
]


@pytest.mark.parametrize(("accept_encoding", "wanted"), ENCODINGS)
def test_gzip_follows_the_accept_encoding_header(accept_encoding: str, wanted: bool) -> None:
    """Gzip is used if it is accepted and ranks at least as high as no compression."""
    assert accepts_gzip(accept_encoding) is wanted


TOKENS = st.sampled_from(
    [
        *',;="\\/* \t',
        "q",
        "q=",
        "0",
        "1",
        ".",
        "text",
        "plain",
        "version",
        "1.0.0",
        OM,
        "gzip",
        "identity",
        "é",
    ]
)


@given(st.lists(TOKENS).map("".join) | st.text())
def test_no_header_is_an_error(header: str) -> None:
    """Whatever a client sends, it gets one of the formats, and either encoding."""
    assert choose_format(header) in set(Format)
    assert accepts_gzip(header) in {True, False}
