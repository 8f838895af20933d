"""Series that come and go, odd labels, exemplars."""

import math
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.metrics.exposition import Exposition
from exporter.model import Exemplar, Sample, Series, Snapshot
from exporter.settings import MetricsSettings
from tests.harness.metrics import (
    A_FAIL,
    DURATION,
    HOSTS,
    ODD,
    OPENMETRICS,
    clean,
    counters,
    host,
    line,
    observed,
    parse_openmetrics,
    show,
    shown,
)


def test_gauges_disappear_with_the_snapshot_that_lacks_them() -> None:
    """A gauge that the snapshot lacks leaves the page with its HELP; counters stay."""
    exposition = Exposition()
    counted = counters(host("a"))
    exposition.show(replace(counted, gauges={Series("job_records_overdue"): 3.0}))
    assert line(show(exposition), "job_records_overdue") == "3.0"
    exposition.show(counted)
    assert "job_records_overdue" not in show(exposition)
    assert A_FAIL in show(exposition)


def test_before_the_first_snapshot_the_page_is_empty_and_valid() -> None:
    """A scrape before anything was published gets an empty page in either format."""
    exposition = Exposition()
    assert show(exposition) == ""
    assert show(exposition, accept=OPENMETRICS, encoding="gzip") == "# EOF\n"


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ('say "hi"', r"say \"hi\""),
        ("two\nlines", r"two\nlines"),
        ("back\\slash", r"back\\slash"),
        ("nul\0", "nul\ufffd"),
        ("half\ud83d", "half\ufffd"),
        ("上海 😀", "上海 😀"),
    ],
)
def test_label_values_can_be_anything(value: str, escaped: str) -> None:
    """Quotes, newlines and backslashes are escaped; what has no encoding, or ends a page, is replaced."""
    assert f'idc="{escaped}"' in shown(counters(host(value)))


def test_labels_that_look_the_same_are_one_series() -> None:
    """Two values that differ only in what cannot be shown share a line, with their sum; later changes too."""
    exposition = Exposition()
    exposition.show(counters(host("x\0"), host("x\ud800")))
    start = HOSTS + '{idc="x\ufffd",status="fail"}'
    assert line(show(exposition), start) == "2.0"
    changed = counters(host("x\0"), host("x\ud800")).counters
    exposition.show(Snapshot(counters={**changed, host("x\ud800"): Sample(value=5.0, born=1.0)}))
    assert line(show(exposition), start) == "6.0"


def test_families_outside_the_catalog_are_left_out() -> None:
    """Series that a newer program left in the ledger are not shown, and do not disturb the others."""
    exposition = Exposition()
    strange = Series("job_strange_total")
    exposition.show(counters(strange, host("a")))
    exposition.show(counters(strange, host("a"), value=2.0))
    assert "strange" not in show(exposition)
    assert line(show(exposition), A_FAIL) == "2.0"
    exposition.show(counters(host("a"), strange, value=3.0))
    assert line(show(exposition), A_FAIL) == "3.0"


def test_a_bad_part_is_refused_and_the_last_page_stays() -> None:
    """A histogram part that is no number is an error of the publisher; scrapes go on with what was there."""
    exposition = Exposition()
    good = counters(host("a"))
    exposition.show(good)
    before = show(exposition)
    with pytest.raises(ValueError, match="could not convert"):
        exposition.show(Snapshot(counters={Series("job_record_hosts", (), "many"): Sample(value=1, born=1)}))
    assert show(exposition) == before
    exposition.show(counters(host("a"), value=2.0))
    assert line(show(exposition), A_FAIL) == "2.0"


def test_a_bucket_between_the_configured_ones_counts_in_the_next() -> None:
    """Sums stay right whatever bound the ledger names."""
    exposition = Exposition(config=MetricsSettings(duration_buckets=(1.0, 100.0)))
    exposition.show(Snapshot(counters=observed(1.0, **{"5.0": 2, "500.0": 1})))
    text = show(exposition)
    assert line(text, DURATION + '_bucket{le="1.0",result_status="fail"}') == "0.0"
    assert line(text, DURATION + '_bucket{le="100.0",result_status="fail"}') == "2.0"
    assert line(text, DURATION + '_bucket{le="+Inf",result_status="fail"}') == "3.0"


# --- exemplars ---


def with_exemplar(record_id: str, timestamp: float = 1700000000.5) -> Snapshot:
    exemplar = Exemplar(record_id=record_id, value=2.0, timestamp=timestamp)
    return Snapshot(counters={host("a"): Sample(value=3.0, born=1.0, exemplar=exemplar)})


def test_exemplars_name_the_record_in_openmetrics_only() -> None:
    """A failure counter shows the record behind its last increment in OpenMetrics; text has no exemplars."""
    snapshot = with_exemplar("r1")
    openmetrics = shown(snapshot, accept=OPENMETRICS)
    assert line(openmetrics, A_FAIL) == '3.0 # {record_id="r1"} 2.0 1700000000.5'
    assert exemplar_of(openmetrics).labels == {"record_id": "r1"}
    assert line(shown(snapshot), A_FAIL) == "3.0"


def exemplar_of(openmetrics: str) -> Any:
    """Give the exemplar of the only sample, as the strict parser reads it."""
    (family,) = parse_openmetrics(openmetrics)
    return family.samples[0].exemplar


@pytest.mark.parametrize(
    ("record_id", "at", "kept"),
    [("x" * 119, 1.0, True), ("x" * 120, 1.0, False), ("深" * 119, 1.0, True), ("x", math.inf, False)],
)
def test_an_exemplar_that_would_be_malformed_is_left_out(record_id: str, at: float, kept: bool) -> None:
    """Names and values of its labels have 128 characters together, and its time is a number."""
    openmetrics = shown(with_exemplar(record_id, at), accept=OPENMETRICS)
    assert (exemplar_of(openmetrics) is not None) == kept


@given(st.text(max_size=64) | ODD, st.floats(0, 4e9))
def test_any_record_id_makes_a_valid_exemplar(record_id: str, timestamp: float) -> None:
    """Ids with odd characters are escaped or replaced, and read back by the grammar."""
    openmetrics = shown(with_exemplar(record_id, timestamp), accept=OPENMETRICS)
    read = re.fullmatch(
        r'3.0 # \{record_id="((?:[^"\\\n]|\\["\\n])*)"\} 2.0 [0-9.e+-]+', line(openmetrics, A_FAIL)
    )
    assert read
    unescaped = re.sub(r'\\(["\\n])', lambda match: {"n": "\n"}.get(match[1], match[1]), read[1])
    assert unescaped == clean(record_id)
    if '"' not in record_id:  # prometheus-client's parser loses its way at an escaped quote in an exemplar
        assert exemplar_of(openmetrics).labels == {"record_id": clean(record_id)}


def test_the_answer_says_what_it_is() -> None:
    """A scrape carries the content type of its format, and gzip when asked for."""
    exposition = Exposition()
    exposition.show(counters(host("a")))
    text = exposition.scrape(accept="text/plain", accept_encoding="")
    assert (text.content_type, text.content_encoding) == ("text/plain; version=0.0.4; charset=utf-8", None)
    old = exposition.scrape(accept="application/openmetrics-text;version=0.0.1", accept_encoding="gzip")
    assert old.content_type == "application/openmetrics-text; version=0.0.1; charset=utf-8"
    assert old.content_encoding == "gzip"


def test_what_the_formats_do_not_have_is_not_there() -> None:
    """No `_created` series and no timestamps on samples."""
    text = shown(Snapshot(counters=observed(100.0, **{"5.0": 2, "sum": 8.0})))
    assert "_created" not in text
    assert all(len(line.rsplit("}", 1)[1].split()) == 1 for line in text.splitlines() if line[0] != "#")
