"""The Compose file: accepted by Compose itself, with each mounted file and each address in it a real one."""

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.harness.deploy import DEPLOY, ROOT, documents, nested, run, tool

FILE = DEPLOY / "docker-compose.yml"
# What each service listens on inside the network; Prometheus' and Grafana's are the defaults of their images.
PORTS = {"platform": 6868, "job-exporter": 16868, "prometheus": 9090, "alertmanager": 9093, "grafana": 3000}


def services() -> dict[str, dict[str, Any]]:
    """Every service by name, merge keys resolved."""
    found: dict[str, dict[str, Any]] = documents(FILE)[0]["services"]
    return found


def binds() -> list[tuple[str, str, str]]:
    """Every file or folder of the checkout that is mounted: (service, source, target)."""
    parts = [
        (name, item.split(":")) for name, service in services().items() for item in service.get("volumes", [])
    ]
    return [(name, item[0], item[1]) for name, item in parts if item[0].startswith(".")]


def test_compose_accepts_the_file() -> None:
    """Compose reads the file by its own schema, with nothing unknown and no variable that is not set."""
    result = run(tool("docker-compose"), "-f", str(FILE), "config", "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_compose_sees_the_services_that_these_tests_see() -> None:
    """Merge keys mean to Compose what they mean here: commands, environment and hardening are the same."""
    result = run(tool("docker-compose"), "-f", str(FILE), "config")
    seen = yaml.safe_load(result.stdout)["services"]
    assert seen.keys() == services().keys()
    for name, service in services().items():
        assert seen[name].get("environment", {}) == service.get("environment", {})
        assert (seen[name].get("read_only"), seen[name]["cap_drop"]) == (service.get("read_only"), ["ALL"])


@pytest.mark.parametrize("bind", binds(), ids=lambda bind: bind[2])
def test_mounted_files_exist(bind: tuple[str, str, str]) -> None:
    """What is mounted is there; the engine would make an empty folder of a wrong name."""
    assert (DEPLOY / bind[1]).exists()


def test_the_image_is_built_from_the_checkout() -> None:
    """Platform and exporter are one image, built from the Dockerfile at the root."""
    for name in ("platform", "job-exporter"):
        service = services()[name]
        assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
        assert service["image"] == "job-exporter:local"
    assert (ROOT / "Dockerfile").is_file()


def test_other_images_have_an_exact_version() -> None:
    """Images from elsewhere have a full version; Prometheus has the one that the rules are tested on."""
    images = {name: service["image"] for name, service in services().items() if "build" not in service}
    for image in images.values():
        assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", image)
    assert images["prometheus"] == "prom/prometheus:v3.5.3"


def test_ports_are_open_to_this_machine_only() -> None:
    """Each published port is bound to loopback, and is the one that the service listens on."""
    for name, service in services().items():
        for port in service.get("ports", []):
            assert port == f"127.0.0.1:{PORTS[name]}:{PORTS[name]}"


def test_every_service_is_hardened() -> None:
    """No service keeps capabilities or can gain them."""
    for service in services().values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service


def test_named_volumes_are_declared() -> None:
    """Each named volume is declared and used, and the ledger's is where the image keeps the ledger."""
    items = [item for service in services().values() for item in service.get("volumes", [])]
    named = {item.split(":")[0] for item in items if not item.startswith(".")}
    assert named == documents(FILE)[0]["volumes"].keys()
    assert services()["job-exporter"]["volumes"] == ["ledger:/var/lib/job-exporter"]


def test_the_exporter_asks_the_platform_beside_it() -> None:
    """The address of the platform is the service that simulates it, at the port of its command."""
    url = urlsplit(services()["job-exporter"]["environment"]["JOB_EXPORTER_API__BASE_URL"])
    assert (url.hostname, url.port) == ("platform", PORTS["platform"])
    assert f"--listen-address :{PORTS['platform']} " in services()["platform"]["command"][0]
    assert str(PORTS["platform"]) in services()["platform"]["healthcheck"]["test"][-1]


def test_prometheus_reaches_the_services_by_their_names() -> None:
    """Every target in prometheus.yml is a service at its port; exporter and Alertmanager are among them."""
    (config,) = documents(DEPLOY / "prometheus" / "prometheus.yml")
    targets = {target for found in nested(config, "targets") for target in found}
    known = {f"{name}:{port}" for name, port in PORTS.items()} | {"localhost:9090"}
    assert {"job-exporter:16868", "alertmanager:9093"} <= targets <= known
    assert "job-exporter" in {job["job_name"] for job in config["scrape_configs"]}


def test_prometheus_finds_its_rules() -> None:
    """The rule files that prometheus.yml names are where the Compose file mounts the rules."""
    (config,) = documents(DEPLOY / "prometheus" / "prometheus.yml")
    mounts = {target: DEPLOY / source for name, source, target in binds() if name == "prometheus"}
    for pattern in config["rule_files"]:
        folder, _, name = f"/etc/prometheus/{pattern}".rpartition("/")
        assert list(mounts[folder].glob(name))


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    """The provisioned data source is the service, and each folder of dashboards is mounted and holds some."""
    provisioning = ROOT / "grafana" / "provisioning"
    sources = [source for path in provisioning.glob("datasources/*.y*ml") for source in documents(path)]
    urls = [str(url) for url in nested(sources, "url")]
    assert "http://prometheus:9090" in urls
    mounts = {target: DEPLOY / source for name, source, target in binds() if name == "grafana"}
    providers = [document for path in provisioning.glob("dashboards/*.y*ml") for document in documents(path)]
    paths = [str(path) for path in nested(providers, "path")]
    assert paths
    for path in paths:
        folder = next(source for target, source in mounts.items() if path.startswith(target))
        assert list(folder.rglob("*.json"))
