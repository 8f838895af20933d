"""The Compose file for two replicas, as Compose merges it with the first: one ledger, no password shown."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.settings import load
from tests.harness.deploy import DEPLOY, documents, run, tool

FILES = (DEPLOY / "docker-compose.yml", DEPLOY / "docker-compose.replicas.yml")
EXPORTERS = ("job-exporter", "job-exporter-b")
SECRET = "/run/secrets/ledger-password"


def rendered(*files: Path) -> dict[str, Any]:
    """What Compose makes of the files, without a word of complaint."""
    flags = [flag for file in files for flag in ("-f", str(file))]
    result = run(tool("docker-compose"), *flags, "config")
    assert (result.returncode, result.stderr) == (0, "")
    found: dict[str, Any] = yaml.safe_load(result.stdout)
    return found


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    """Every service by name, both files merged."""
    found: dict[str, dict[str, Any]] = rendered(*FILES)["services"]
    return found


def test_without_the_second_file_there_is_one_exporter() -> None:
    """The first file alone has neither the database, nor the second exporter, nor a secret."""
    alone = rendered(FILES[0])
    assert not {"postgres", "job-exporter-b"} & alone["services"].keys()
    assert "secrets" not in alone
    assert "JOB_EXPORTER_STATE__URL" not in alone["services"]["job-exporter"]["environment"]


def test_the_replicas_differ_in_their_port_only(services: dict[str, dict[str, Any]]) -> None:
    """One platform, one ledger, one way to start; each port is this machine's only, and nothing is kept."""
    first, second = ({**services[name]} for name in EXPORTERS)
    published = [{item["host_ip"]: item["published"] for item in one.pop("ports")} for one in (first, second)]
    assert published == [{"127.0.0.1": "16868"}, {"127.0.0.1": "16869"}]
    assert first == second
    assert "volumes" not in first
    assert first["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_the_ledger_is_the_database_beside_them(services: dict[str, dict[str, Any]]) -> None:
    """The settings load; user and host of the address are those of the service, and it names no password."""
    variables = services["job-exporter"]["environment"]
    ours = {name: value for name, value in variables.items() if name.startswith("JOB_EXPORTER_")}
    user = services["postgres"]["environment"]["POSTGRES_USER"]
    assert load([], ours).state.url.get_secret_value() == f"postgresql+psycopg://{user}@postgres/{user}"


def test_the_password_is_a_file_and_nowhere_else(services: dict[str, dict[str, Any]]) -> None:
    """Three services get the secret; it comes from a file that git ignores, and no variable holds it."""
    assert rendered(*FILES)["secrets"]["ledger-password"]["file"] == str(DEPLOY / "secrets/ledger-password")
    assert run("git", "check-ignore", "--quiet", "deploy/secrets/ledger-password").returncode == 0
    having = {name for name, service in services.items() if service.get("secrets")}
    assert having == {*EXPORTERS, "postgres"}
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD_FILE"] == SECRET
    for service in services.values():
        assert not {"PGPASSWORD", "POSTGRES_PASSWORD"} & service.get("environment", {}).keys()
        assert not re.search(r"//[^/@\s]*:[^/@\s]*@", yaml.safe_dump(service))


def test_the_exporter_starts_with_a_password_file_of_its_own(
    services: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """The shell's lines, run: libpq's file, escaped as it asks, for the owner only; then the exporter."""
    (tmp_path / "secret").write_text("a:b\\c\n")
    (tmp_path / "job-exporter").write_text('#!/bin/sh\necho "started $*"\n')
    (tmp_path / "job-exporter").chmod(0o700)
    service = services["job-exporter"]
    (script,) = service["command"]
    assert SECRET in script
    script = script.replace("$$", "$").replace(SECRET, str(tmp_path / "secret"))
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PGPASSFILE": str(tmp_path / "pgpass")}
    result = run(*service["entrypoint"], script, env=variables)
    assert (result.returncode, result.stdout, result.stderr) == (0, "started run\n", "")
    assert (tmp_path / "pgpass").read_text() == "postgres:5432:*:*:a\\:b\\\\c\n"
    assert (tmp_path / "pgpass").stat().st_mode & 0o777 == 0o600
    (tmp_path / "secret").unlink()
    assert "started" not in run(*service["entrypoint"], script, env=variables).stdout


def test_the_password_file_is_written_in_memory(services: dict[str, dict[str, Any]]) -> None:
    """The file that libpq reads lies on a tmpfs: it is gone with the container."""
    for name in EXPORTERS:
        passfile = Path(services[name]["environment"]["PGPASSFILE"])
        assert str(passfile.parent) in services[name]["tmpfs"]


def test_the_database_is_pinned_kept_and_hardened(services: dict[str, dict[str, Any]]) -> None:
    """PostgreSQL 16 to the minor version, on a named volume, asked for its health, with no port outside."""
    database = services["postgres"]
    assert re.fullmatch(r"postgres:16\.\d+", database["image"])
    assert [item["source"] for item in database["volumes"] if item["type"] == "volume"] == ["postgres"]
    assert database["volumes"][0]["target"] == "/var/lib/postgresql/data"
    assert database["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]
    assert "ports" not in database


def test_the_services_are_hardened(services: dict[str, dict[str, Any]]) -> None:
    """What the second file brings has a read-only root, no capabilities, and can gain none."""
    for name in (*EXPORTERS, "postgres"):
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]


def test_prometheus_scrapes_both(services: dict[str, dict[str, Any]]) -> None:
    """The job's own target and those of the mounted file are the two exporters, and no label parts them."""
    (config,) = documents(DEPLOY / "prometheus" / "prometheus.yml")
    (job,) = [job for job in config["scrape_configs"] if job["job_name"] == "job-exporter"]
    ((pattern,),) = [found["files"] for found in job["file_sd_configs"]]
    mounts = {item["target"]: Path(item["source"]) for item in services["prometheus"]["volumes"]}
    (file,) = [mounts[target] for target in mounts if Path(target).match(f"/etc/prometheus/{pattern}")]
    groups = [*job["static_configs"], *yaml.safe_load(file.read_text())]
    assert groups == [{"targets": [f"{name}:16868"]} for name in EXPORTERS]
