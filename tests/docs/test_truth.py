"""What the documents show works, and the numbers that they tell are those of the code."""

import math
import re
import shlex
import sqlite3
import tomllib
from pathlib import Path

import pytest
import yaml

from exporter import app
from exporter.discovery.gaps import DEEPEST, HOLD
from exporter.discovery.pages import PROBE
from exporter.discovery.sweep import INTERVAL
from exporter.discovery.weights import MAX_PAGE_SIZE, PAGE_BYTES
from exporter.ledger.errors import LedgerError
from exporter.ledger.ledger import KEPT_SETTLED, Ledger
from exporter.metrics.families import MetricsConfig
from exporter.polling import poller, status
from exporter.settings import Settings, SettingsError, catalog, load
from exporter.tracking import settling, tracker
from exporter.web.config import parse
from tests.harness.documents import READMES, ROOT, document, shell_lines

ENGLISH, CHINESE = (document(name) for name in READMES)
INFOS = {info.name: info for info in catalog()}
DEFAULTS = {info.name: info.default for info in catalog()}
in_both = pytest.mark.parametrize("name", READMES)


def _settings_of(line: str, folder: Path) -> Settings:
    """The settings of a line, with the files that it names laid into `folder`."""
    words = shlex.split(line)
    environ = dict(word.split("=", 1) for word in words if word.startswith("JOB_EXPORTER_"))
    _, *flags = words[words.index("job-exporter") + 1 :]
    given = []
    for flag in flags:
        name, _, value = flag.removeprefix("--").partition("=")
        if INFOS[name].kind == "file":
            file = folder / Path(value).name
            if not file.exists():
                file.write_text("secret")
            value = str(file)
        given.append(f"--{name}={value}")
    return load(given, environ)


@in_both
def test_every_command_that_is_shown_is_understood(name: str, tmp_path: Path) -> None:
    """The flags and variables of each line load, and a command that needs a platform has one."""
    (settings,) = [
        block
        for block in document(name).blocks
        if "job-exporter.yaml" in block.text and block.language == "yaml"
    ]
    (tmp_path / "job-exporter.yaml").write_text(settings.text)
    lines = [line for line in shell_lines(document(name)) if re.search(r"\bjob-exporter (run|check)\b", line)]
    assert len(lines) >= 6
    for line in lines:
        assert _settings_of(line, tmp_path).require_platform() == "http://job-platform.example:6868"


@in_both
def test_the_three_ways_to_set_are_the_same(name: str, tmp_path: Path) -> None:
    """Flags, variables and the file of the chapter on settings give one result."""
    (block,) = [block for block in document(name).blocks if "--poll.interval=30s" in block.text]
    (file,) = [block for block in document(name).blocks if block.language == "yaml" and "poll:" in block.text]
    (tmp_path / "job-exporter.yaml").write_text(file.text)
    loaded = [_settings_of(line, tmp_path) for line in block.working]
    assert [(one.api, one.poll) for one in loaded] == [(loaded[0].api, loaded[0].poll)] * 3
    assert loaded[0].poll.interval == 30.0


@in_both
def test_the_web_configuration_is_understood(name: str, tmp_path: Path) -> None:
    """The example is read as it stands: TLS, and one user."""
    (block,) = [block for block in document(name).blocks if "basic_auth_users" in block.text]
    (tmp_path / "web.yaml").write_text(block.text)
    config = parse(tmp_path / "web.yaml")
    assert config.tls is not None
    assert list(config.users) == ["prometheus"]


@in_both
def test_the_scrape_configuration_is_that_of_the_rules(name: str) -> None:
    """Job name, port and rule files are those of the configuration to copy."""
    (block,) = [block for block in document(name).blocks if "scrape_configs" in block.text]
    shown = yaml.safe_load(block.text)
    whole = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    (job,) = shown["scrape_configs"]
    assert job["job_name"] == whole["scrape_configs"][0]["job_name"]
    assert shown["rule_files"] == whole["rule_files"]
    assert job["scrape_interval"] == whole["global"]["scrape_interval"]
    assert job["static_configs"][0]["targets"] == [f"localhost:{PORT}"]


@in_both
def test_a_ledger_can_be_told_the_platforms_new_address(name: str, tmp_path: Path) -> None:
    """After the statement that is shown the ledger opens for the new address, and for no other."""
    url, layout = f"sqlite:///{tmp_path / 'job-exporter.db'}", app.layout(MetricsConfig(), label_limit=500)
    Ledger(url, platform="http://old.example:6868", now=0.0, layout=layout).close()
    (line,) = [line for line in shell_lines(document(name)) if "UPDATE" in line]
    program, file, statement = shlex.split(line)
    assert (program, file) == ("sqlite3", "job-exporter.db")
    connection = sqlite3.connect(tmp_path / file)
    with connection:
        connection.execute(statement)
    connection.close()
    Ledger(url, platform="http://new.example:6868", now=0.0, layout=layout).close()
    with pytest.raises(LedgerError, match="belongs to the platform"):
        Ledger(url, platform="http://old.example:6868", now=0.0, layout=layout)


def test_the_statement_names_a_platform_as_the_settings_spell_it() -> None:
    """The address in the statement is in the one spelling that the ledger compares."""
    assert (
        load(["--api.base-url=http://new.example:6868/"], {}).require_platform() == "http://new.example:6868"
    )
    with pytest.raises(SettingsError):
        load(["--api.base-url=http://new.example:6868/api/v1"], {})


MINUTE = 60.0
PORT = Settings().web.listen_address[0].port
PYTHON = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
FACTS = [
    # English, Chinese, the value as the code has it
    ("open http://localhost:{}", "打开 http://localhost:{}", PORT),
    ("`http://localhost:{}/` is the page", "`http://localhost:{}/` 是页面", PORT),
    ("only Python {} or newer", "Python {} 或更高版本", PYTHON),
    ("`{}` in the working", "工作目录下的 `{}`", DEFAULTS["state.url"].removeprefix("sqlite:///")),
    ("during {:g} minutes", "寻找它 {:g} 分钟", HOLD / MINUTE),
    ("Idle: {} request a poll", "每次轮询 {} 个请求", PROBE.size),
    ("`pageNo={0}&pageSize={0}`", "`pageNo={0}&pageSize={0}`", PROBE.number),
    ("one page is read again each {}", "每 {} 重读一页", DEFAULTS["poll.recheck-interval"]),
    ("At most {} requests at once", "同时最多 {} 个请求", DEFAULTS["api.concurrency"]),
    ("at most {} records and about", "每页最多 {} 条记录", DEFAULTS["api.page-size"]),
    ("about {:g} MB a page", "约 {:g} MB", PAGE_BYTES / 1e6),
    ("at most {} of the time", "最多占用 {} 的时间", DEFAULTS["api.duty"]),
    ("newest {} (`poll.adopt`)", "最新的 {} 条记录中（`poll.adopt`）", DEFAULTS["poll.adopt"]),
    ('after {} answers "not found"', "{} 次回答“不存在”", tracker.VANISHED_LOOKUPS),
    ("{} after a record was first seen done", "首次看到记录结束 {} 之后", DEFAULTS["poll.settle-grace"]),
    ("`metrics.zero-hold` ({})", "`metrics.zero-hold`（{}）", DEFAULTS["metrics.zero-hold"]),
    ("{} later (`poll.settle-grace`)", "{}（`poll.settle-grace`）", DEFAULTS["poll.settle-grace"]),
    ("at most {} values (`metrics", "最多有 {} 个取值（`metrics", DEFAULTS["metrics.label-limit"]),
    ("`api.timezone` (`{}`)", "`api.timezone`（`{}`）", DEFAULTS["api.timezone"]),
    ("pruned after {}", "在 {} 之后清理", DEFAULTS["state.retention"]),
    ("the newest {} never", "最新的 {} 个永远保留", KEPT_SETTLED),
]  # fmt: skip


@pytest.mark.parametrize(("english", "chinese", "value"), FACTS, ids=[fact[0] for fact in FACTS])
def test_numbers_are_those_of_the_code(english: str, chinese: str, value: object) -> None:
    """Ports, defaults and limits that the text tells are what the program has, in both languages."""
    assert english.format(value) in _joined(ENGLISH.text)
    assert chinese.format(value) in _joined(CHINESE.text)


def _joined(text: str) -> str:
    """Give the text with its lines joined: where a line breaks means nothing."""
    return re.sub(r"\s*\n\s*", " ", text)


def test_limits_that_are_told_in_words_are_those_of_the_code() -> None:
    """A minute between looks and between polls, an hour for results and re-checks, two seconds to stop."""
    assert tracker.MAX_LOOKUP_INTERVAL == tracker.VANISHED_AFTER == status.MAX_BACKOFF == MINUTE
    assert settling.RESULTS_LIMIT == tracker.UNREADABLE_WAIT == 60 * MINUTE
    assert INTERVAL == 60 * MINUTE
    assert app.STOP_GRACE < 2.0
    assert int(DEFAULTS["api.page-size"]) == MAX_PAGE_SIZE


def test_the_architecture_counts_right() -> None:
    """The numbers in the part on how the hard part works are the code's."""
    text = _joined(document("ARCHITECTURE.md").text)
    assert f"for {HOLD / MINUTE:g} minutes" in text
    assert f"and {DEEPEST} positions without" in text
    assert f"Each {Settings().poll.recheck_interval / MINUTE:g} minutes" in text
    assert f"or {Settings().poll.settle_grace:g} seconds later" in text
    assert f"until {Settings().metrics.zero_hold:g} seconds later" in text
    assert f"at most one page and {poller.ROUND} look-ups" in text
    assert math.isclose(tracker.AGE_SHARE, 0.1)
    assert "after a tenth of its age" in text
