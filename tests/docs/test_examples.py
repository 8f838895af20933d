"""What the documents show works: commands, configurations and statements."""

import re
import shlex
import sqlite3
from pathlib import Path

import pytest
import yaml

from exporter.ledger.errors import LedgerError
from exporter.ledger.ledger import Ledger
from exporter.metrics.families import layout
from exporter.settings import MetricsSettings, Settings, SettingsError, catalog, load
from exporter.web.config import parse
from tests.harness.documents import DOCUMENTS, READMES, ROOT, document, shell_lines

INFOS = {info.name: info for info in catalog()}
PORT = Settings().web.listen_address[0].port
in_both = pytest.mark.parametrize("name", READMES)


def _shown(name: str, part: str) -> str:
    """The one fenced block of the document that has `part`."""
    (block,) = [block for block in document(name).blocks if part in block.text]
    return block.text


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


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_that_is_shown_is_understood(name: str, tmp_path: Path) -> None:
    """The flags and variables of each shown line load, and a command that needs a platform has one."""
    (tmp_path / "job-exporter.yaml").write_text(_shown("docs/configuration.md", "base_url:"))
    for line in shell_lines(document(name)):
        if re.search(r"\bjob-exporter (run|check) .*--|JOB_EXPORTER_.* job-exporter run", line):
            assert _settings_of(line, tmp_path).require_platform() == "http://job-platform.example:6868"


def test_the_three_ways_to_set_are_the_same(tmp_path: Path) -> None:
    """Flags, variables and the file of docs/configuration.md give one result."""
    (tmp_path / "job-exporter.yaml").write_text(_shown("docs/configuration.md", "base_url:"))
    lines = _shown("docs/configuration.md", "--poll.interval=30s").splitlines()
    loaded = [_settings_of(line, tmp_path) for line in lines]
    assert [(one.api, one.poll) for one in loaded] == [(loaded[0].api, loaded[0].poll)] * 3
    assert loaded[0].poll.interval == 30.0


def test_the_web_configuration_is_understood(tmp_path: Path) -> None:
    """The example is read as it stands: TLS, and one user."""
    (tmp_path / "web.yaml").write_text(_shown("docs/security.md", "basic_auth_users"))
    config = parse(tmp_path / "web.yaml")
    assert config.tls_server_config is not None
    assert list(config.basic_auth_users) == ["prometheus"]


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


def test_a_ledger_can_be_told_the_platforms_new_address(tmp_path: Path) -> None:
    """After the statement that is shown the ledger opens for the new address, and for no other."""
    url, series = f"sqlite:///{tmp_path / 'job-exporter.db'}", layout(MetricsSettings())
    Ledger(url, platform="http://old.example:6868", now=0.0, layout=series).close()
    (line,) = [line for line in shell_lines(document("docs/operations.md")) if "UPDATE" in line]
    program, file, statement = shlex.split(line)
    assert (program, file) == ("sqlite3", "job-exporter.db")
    connection = sqlite3.connect(tmp_path / file)
    with connection:
        connection.execute(statement)
    connection.close()
    Ledger(url, platform="http://new.example:6868", now=0.0, layout=series).close()
    with pytest.raises(LedgerError, match="belongs to the platform"):
        Ledger(url, platform="http://old.example:6868", now=0.0, layout=series)


def test_the_statement_names_a_platform_as_the_settings_spell_it() -> None:
    """The address in the statement is in the one spelling that the ledger compares."""
    assert (
        load(["--api.base-url=http://new.example:6868/"], {}).require_platform() == "http://new.example:6868"
    )
    with pytest.raises(SettingsError):
        load(["--api.base-url=http://new.example:6868/api/v1"], {})
