"""A platform whose every text may be anything: log, exposition, page and readiness stay well formed.

All of the program but its sockets: bytes of a platform through client, decoders, poller and ledger.
"""

import json
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter import logs
from exporter.jobapi import items
from exporter.jobapi.client import JobApi
from exporter.metrics.exposition import Exposition
from exporter.page.handlers import Landing
from exporter.polling.config import PollConfig
from exporter.settings import Settings
from tests.harness.core import logging_kept
from tests.harness.inprocess import PLATFORM, RULES, Clock, Daemon
from tests.harness.metrics import OPENMETRICS, clean, show
from tests.harness.page import Reader
from tests.harness.recorded import config
from tests.page.test_safe import HOSTILE

START = 1_799_990_000
FORGED = (
    'x"\ntime=1 level=error event="all is lost"',
    "a=b c=d",
    "\\",
    'ends with \\"',
    "\r\n\r\n",
    "# EOF",
    '"} 1\n',
)
WORDS = st.sampled_from(
    [word for word in (*HOSTILE, *FORGED) if word.isascii() or "\ud800" not in word]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=70)
# One value of logfmt: bare, or in quotes with what would end them escaped.
PAIR = re.compile(r'([A-Za-z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s"=]*))(?: |$)')


@dataclass
class Platform:
    """Finished records with any names; a third of the requests fails, and says so in their words."""

    words: list[str]
    asked: int = 0
    ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Without NUL, which makes an id unreadable: see the head of `decoder.py`.
        self.ids = [
            f"{number}{word}".replace("\0", "")[: items.MAX_ID] for number, word in enumerate(self.words)
        ]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        # Not each third one: that could always meet the same record's look-up.
        if random.Random(self.asked).random() < 1 / 3:
            word = self.words[self.asked % len(self.words)]
            return self._wrapped(None, status="error", message=word or "failed")
        if request.url.path.endswith("/page"):
            size, number = int(request.url.params["pageSize"]), int(request.url.params["pageNo"])
            shown = range(len(self.ids))[(number - 1) * size : number * size]
            rows = [self._row(number) for number in shown]
            return self._wrapped({"List": rows, "TotalCount": len(self.ids), "PageSize": size})
        asked = self.ids.index(request.url.params["id"])
        if request.url.path.endswith("/result"):
            return self._wrapped([self._row(asked)])
        return self._wrapped(self._record(asked))

    def _row(self, number: int) -> dict[str, Any]:
        word, time = self.words[number], self._time(number)
        status = ("success", "fail", word)[number % 3]
        return {
            "recordId": self.ids[number], "hostId": word + "h", "idcName": word, "status": status,
            "startTime": time, "endTime": time, "stdout": word, "message": word,
        }  # fmt: skip

    def _record(self, number: int) -> dict[str, Any]:
        word, time = self.words[number], self._time(number)
        return {
            "id": self.ids[number], "executeStatus": "done", "resultStatus": ("fail", word)[number % 2],
            "startTime": time, "endTime": time, "provider": word, "scriptType": word, "script": word,
        }  # fmt: skip

    @staticmethod
    def _time(number: int) -> str:
        return datetime.fromtimestamp(START + number, UTC).isoformat()

    @staticmethod
    def _wrapped(content: Any, **changes: str) -> httpx.Response:
        return httpx.Response(200, json={"status": "success", "message": "", "content": content, **changes})


@contextmanager
def living(platform: Platform) -> Iterator[Daemon]:
    """An exporter of this platform that counts all there is."""
    api = JobApi(config(PLATFORM), transport=httpx.MockTransport(platform))
    with TemporaryDirectory() as folder:
        daemon = Daemon(
            cast("Any", api), Path(folder), Clock(), config=PollConfig(rules=RULES, history=None, adopt=1_000)
        )
        try:
            yield daemon
        finally:
            daemon.close()


def read_log(lines: list[str], form: str) -> list[dict[str, str]]:
    """Read every line back; AssertionError for one that is not whole."""
    events = []
    for line in lines:
        assert line.isprintable()
        if form == "json":
            event = json.loads(line)
        else:
            pairs = list(PAIR.finditer(line))
            assert "".join(pair[0] for pair in pairs) == line
            event = {pair[1]: pair[2] if pair[2] is not None else pair[3] for pair in pairs}
            assert len(event) == len(pairs)
        assert {"time", "level", "event"} <= set(event)
        assert datetime.fromisoformat(event["time"])
        events.append(event)
    return events


def expect_metrics(daemon: Daemon, platform: Platform) -> None:
    """Both formats are read back by prometheus-client, with the names that the platform gave."""
    exposition = Exposition()
    exposition.show(daemon.snapshot)
    idcs = {clean(items.label(word)) for word in platform.words}
    for parse, accept in ((parse_text, ""), (parse_openmetrics, OPENMETRICS)):
        text = show(exposition, accept=accept)
        if parse is parse_openmetrics:  # its parser loses its way at an escaped quote in an exemplar
            text = re.sub(r" # \{.*\} \S+ \S+$", "", text, flags=re.MULTILINE)
        samples = [sample for family in parse(text) for sample in family.samples]
        hosts = [sample for sample in samples if sample.name == "job_host_results_total"]
        assert {sample.labels["idc"] for sample in hosts} == idcs
        assert sum(sample.value for sample in hosts) == len(platform.ids)
        finished = [sample for sample in samples if sample.name == "job_records_finished_total"]
        assert sum(sample.value for sample in finished) == len(platform.ids)
        assert idcs <= {sample.labels["provider"] for sample in finished}


def expect_page(daemon: Daemon) -> None:
    """The page is well formed, and the JSON of failures is JSON."""
    state = daemon.ledger.state
    landing = Landing(Settings(), state=lambda: state, error=lambda: "x", clock=daemon.clock)
    landing.publish(daemon.snapshot)
    page = Reader(landing.page())
    assert not page.find("script")
    assert all(not name.startswith("on") for element in page.elements for name in element.attributes)
    assert json.loads(landing.failures())["failures"]


@pytest.mark.parametrize("form", ["logfmt", "json"])
@settings(max_examples=10, deadline=None)
@given(words=st.lists(WORDS, min_size=1, max_size=12))
def test_whatever_the_platform_calls_its_things(form: Literal["logfmt", "json"], words: list[str]) -> None:
    """Everything is counted once under its name, and nothing put out can be taken for something else."""
    expect_all_well(Platform(words), form)


def test_all_nasty_names_at_once() -> None:
    """The whole list, in the order in which it is written."""
    expect_all_well(Platform([word for word in (*HOSTILE, *FORGED) if "\ud800" not in word]), "logfmt")


def expect_all_well(platform: Platform, form: Literal["logfmt", "json"]) -> None:
    """Poll until all is counted; look at all that is put out."""
    with logging_kept(), pytest.MonkeyPatch.context() as patch:
        lines = Lines()
        patch.setattr("sys.stderr", lines)
        logs.configure(level="debug", form=form)
        with living(platform) as daemon:
            for _ in range(60):
                daemon.poll()
                error = daemon.poller.last_error
                assert error is None or error.isprintable()
                if len(daemon.settled()) == len(platform.ids):
                    break
            assert daemon.settled() == set(platform.ids)
            expect_metrics(daemon, platform)
            expect_page(daemon)
    events = read_log(lines.text.splitlines(), form)
    told = {event["event"].partition(":")[0] for event in events}
    assert told & {"poll failed", "record is unreadable"}
    assert "error" not in {event["level"] for event in events}


class Lines:
    """A standard error that keeps what is written; `splitlines` knows more ends of lines than files do."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""
