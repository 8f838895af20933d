"""The systemd unit: accepted by systemd, exposed little, and at one with the configuration beside it."""

import configparser
import re
from pathlib import Path

from tests.harness.deploy import DEPLOY, documents, run, tool

UNIT = DEPLOY / "systemd" / "job-exporter.service"


def directives(name: str) -> list[str]:
    """Every value of a directive, in order."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say, once the program is where it is on this machine."""
    program = tmp_path / "job-exporter"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/job-exporter/bin/job-exporter", str(program)))
    result = run(tool("systemd-analyze"), "verify", "--recursive-errors=one", str(copy))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_exposure_is_at_most_2() -> None:
    """The score of `systemd-analyze security` (0 to 10, less is better) stays at 2.0 or below."""
    result = run(tool("systemd-analyze"), "security", "--offline=true", "--threshold=20", str(UNIT))
    score = re.search(r"Overall exposure level for \S+: ([\d.]+)", result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
    assert score is not None
    assert float(score[1]) <= 2.0


def test_a_wrong_configuration_is_not_tried_again() -> None:
    """A failure starts the service again, but exit 2, a configuration error, does not."""
    assert directives("Restart") == ["on-failure"]
    assert directives("RestartPreventExitStatus") == ["2"]


def test_a_start_ends_once_the_daemon_serves() -> None:
    """The daemon itself says when; it has time enough to open a large ledger."""
    assert directives("Type") == ["notify"]
    assert directives("TimeoutStartSec") == ["5min"]


def test_a_reload_is_a_hangup() -> None:
    """`systemctl reload` sends SIGHUP, at which the program re-reads what it can."""
    assert directives("ExecReload") == ["/bin/sh -c 'kill -HUP $MAINPID'"]


def test_the_ledger_lies_in_the_state_directory() -> None:
    """The configuration's ledger, and the default one, are in the folder that systemd keeps for it."""
    (config,) = documents(DEPLOY / "systemd" / "job-exporter.yaml")
    assert directives("StateDirectory") == ["job-exporter"]
    assert directives("WorkingDirectory") == ["%S/job-exporter"]
    assert config["state"]["url"] == "sqlite:////var/lib/job-exporter/job-exporter.db"


def test_secrets_come_as_credentials() -> None:
    """The files that the configuration names, commented ones too, are credentials that the unit loads."""
    loaded = {value.split(":")[0] for value in directives("LoadCredential")}
    assert loaded == {"password", "token"}
    text = (DEPLOY / "systemd" / "job-exporter.yaml").read_text()
    named = re.findall(r"^\s*#?\s*(password|token)_file: (\S+)$", text, re.MULTILINE)
    assert named == [(name, f"/run/credentials/{UNIT.name}/{name}") for name in ("password", "token")]


def test_a_credential_that_is_not_there_is_left_out() -> None:
    """Names without a leading slash are looked up in the credential store and may be missing."""
    assert not [value for value in directives("LoadCredential") if ":/" in value]


def test_the_unit_has_the_three_sections() -> None:
    """The unit is whole: it can be enabled, and is started with the network."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(UNIT)
    assert parser.sections() == ["Unit", "Service", "Install"]
    assert parser["Install"]["wantedby"] == "multi-user.target"
