"""Deploy files and the program agree: each setting, flag, variable and path they name is a real one."""

import re
from pathlib import Path

import pytest

from exporter.settings import ListenAddress, Settings, catalog, load
from tests.harness.deploy import DEPLOY, ROOT, documents, run, tool

TEXTS = sorted(
    path
    for path in [ROOT / "Dockerfile", *DEPLOY.rglob("*")]
    if path.is_file() and path.suffix in ("", ".yml", ".yaml", ".service", ".md", ".env")
)
CONFIGURATIONS = [DEPLOY / "systemd" / "job-exporter.yaml"]
# What the orchestrator would set, named where it is switched off.
NOT_OURS = {"JOB_EXPORTER_SERVICE_HOST"}
PORT = 16868


def loaded(path: Path, folder: Path, *, text: str | None = None) -> Settings:
    """Load a configuration with the secret files that it names laid into `folder`."""
    text = path.read_text() if text is None else text
    for named in re.findall(r"^\s*(?:password|token)_file: (\S+)$", text, re.MULTILINE):
        (folder / Path(named).name).write_text("secret")
        text = text.replace(named, str(folder / Path(named).name))
    copy = folder / path.name
    copy.write_text(text)
    return load([f"--config={copy}"], {})


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_variable_is_a_setting(path: Path) -> None:
    """Each JOB_EXPORTER_ variable in these files, comments included, is one that the program reads."""
    named = set(re.findall(r"JOB_EXPORTER_\w*\w", path.read_text(encoding="utf-8")))
    assert named <= {info.env for info in catalog()} | NOT_OURS


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_flag_is_a_setting(path: Path) -> None:
    """Each flag of the form `--group.name` in these files is one of the program's, or Prometheus' own."""
    groups = {info.group for info in catalog() if info.group}
    found = re.findall(r"--([a-z]+)(\.[a-z-]+)(?=[\s=\"'`,]|$)", path.read_text(encoding="utf-8"))
    foreign = {"--web.enable-lifecycle"}
    flags = {f"--{group}{name}" for group, name in found if group in groups} - foreign
    assert flags <= {info.flag for info in catalog()}


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.parent.name)
def test_every_configuration_loads(path: Path, tmp_path: Path) -> None:
    """The example loads as it stands: an address, a user with a password file, the ledger on the volume."""
    settings = loaded(path, tmp_path)
    assert settings.api.base_url == "http://job-platform.example:6868"
    assert settings.api.username == "job-exporter"
    assert settings.api.password_file is not None
    assert settings.state.url.get_secret_value() == "sqlite:////var/lib/job-exporter/job-exporter.db"
    assert {address.port for address in settings.web.listen_address} == {PORT}


def test_the_units_other_way_to_sign_in_loads_too(tmp_path: Path) -> None:
    """With the commented token in place of user and password the configuration is as good."""
    path = DEPLOY / "systemd" / "job-exporter.yaml"
    kept = [
        line for line in path.read_text().splitlines() if not re.match(r"\s*(username|password_file):", line)
    ]
    text = "\n".join(re.sub(r"# (?=token_file:)", "", line) for line in kept)
    settings = loaded(path, tmp_path, text=text)
    assert (settings.api.username, settings.api.password_file) == (None, None)
    assert settings.api.token_file == tmp_path / "token"


def test_every_link_of_the_readme_leads_somewhere() -> None:
    """The files that deploy/README.md links to exist."""
    links = re.findall(r"\]\(([^)#]+)\)", (DEPLOY / "README.md").read_text())
    assert links
    assert [link for link in links if not (DEPLOY / link).exists()] == []


def test_compose_gives_settings_that_load() -> None:
    """The environment of the Compose file's exporter is a complete configuration."""
    (compose,) = documents(DEPLOY / "docker-compose.yml")
    settings = load([], compose["services"]["job-exporter"]["environment"])
    assert settings.require_platform() == "http://platform:6868"


def test_the_default_port_is_the_one_that_is_exposed() -> None:
    """Image, Service and Compose publish the port that the program listens on when nothing is set."""
    assert load([], {}).web.listen_address == (ListenAddress(host="", port=PORT),)
    assert f"EXPOSE {PORT}\n" in (ROOT / "Dockerfile").read_text()


def test_the_default_ledger_is_relative() -> None:
    """The image relies on it: the default of state.url is a file in the working directory."""
    assert load([], {}).state.url.get_secret_value() == "sqlite:///job-exporter.db"


@pytest.mark.parametrize("command", ["run", "simulate", "check"])
def test_the_commands_are_real(command: str) -> None:
    """Each command that these files start is one of the program's."""
    result = run(tool("job-exporter"), command, "--help")
    assert result.returncode == 0, result.stderr


def test_the_simulators_flags_are_real() -> None:
    """Each flag that the Compose file gives to `simulate` is told by its help."""
    (compose,) = documents(DEPLOY / "docker-compose.yml")
    flags = re.findall(r"--[a-z-]+", compose["services"]["platform"]["command"][0])
    told = run(tool("job-exporter"), "simulate", "--help").stdout
    assert flags
    assert [flag for flag in flags if not re.search(rf"{flag}\b", told)] == []
