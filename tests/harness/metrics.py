"""For the tests of the exposition: small snapshots, scrapes and parsers."""

import gzip

from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser

from exporter.metrics.exposition import Exposition
from exporter.metrics.families import FAMILIES
from exporter.model import Exemplar, Sample, Series, Snapshot

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
BY_NAME = {family.name: family for family in FAMILIES}
HOSTS = "job_host_results_total"
DURATION = "job_record_duration_seconds"
A_FAIL = HOSTS + '{idc="a",status="fail"}'
ODD = st.text(st.sampled_from('a"\\\n\r\0\ud800\ufffd é深{},=#\x85\u2028 '), max_size=5)


def show(exposition: Exposition, *, accept: str = "", encoding: str = "") -> str:
    """Scrape, and undo the compression."""
    scrape = exposition.scrape(accept=accept, accept_encoding=encoding)
    body = gzip.decompress(scrape.body) if scrape.content_encoding == "gzip" else scrape.body
    return body.decode()


def shown(snapshot: Snapshot, *, accept: str = "") -> str:
    """Scrape an exposition that has seen nothing but `snapshot`."""
    exposition = Exposition()
    exposition.show(snapshot)
    return show(exposition, accept=accept)


def host(idc: str, status: str = "fail") -> Series:
    return Series(HOSTS, (("idc", idc), ("status", status)))


def counters(*series: Series, value: float = 1.0, held_until: float = 1.0) -> Snapshot:
    sample = Sample(value=value, born=1.0, held_until=held_until)
    return Snapshot(counters=dict.fromkeys(series, sample))


def observed(held_until: float, **parts: float) -> dict[Series, Sample]:
    exemplar = Exemplar(record_id="r1", value=4.0, timestamp=1.0)
    return {
        Series(DURATION, (("result_status", "fail"),), part): Sample(
            value=value,
            born=1.0,
            exemplar=exemplar if part != "sum" else None,
            held_until=held_until,
        )
        for part, value in parts.items()
    }


def line(text: str, start: str) -> str:
    """Give what stands behind `start` on its line."""
    return next(line.removeprefix(start).strip() for line in text.split("\n") if line.startswith(start))


def clean(value: str) -> str:
    return "".join("\ufffd" if char == "\0" or "\ud800" <= char <= "\udfff" else char for char in value)


def parse_openmetrics(text: str) -> list[Metric]:
    """Read by the strict parser."""
    return list(openmetrics_parser.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]
