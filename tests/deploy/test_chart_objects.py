"""What the objects of the Helm chart say: configuration, secrets, ports, selectors, network, replicas."""

import base64
import os
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.settings import Settings, load
from tests.deploy.chart import CHART, EXAMPLES, RELEASE, config_of, only, pod_of, rendered, validate
from tests.harness.deploy import DEPLOY, nested, run, tool

pytestmark = pytest.mark.chart

BASIC = "--set=credentials.type=basic,credentials.username=someone"
POSTGRESQL = "--set=ledger.type=postgresql,ledger.postgresql.url=postgresql+psycopg://u:p@db/jobs"
NAME = f"{RELEASE}-job-exporter"


def loaded(objects: tuple[dict[str, Any], ...], folder: Path) -> Settings:
    """Load the configuration as the container would, with every file that it names laid into `folder`."""
    text = config_of(objects)
    for named in re.findall(r"/etc/job-exporter/\S+", text):
        (folder / Path(named).name).write_text("x")
        text = text.replace(named, str(folder / Path(named).name))
    (folder / "job-exporter.yaml").write_text(text)
    (container,) = pod_of(objects)["containers"]
    variables = {item["name"]: item.get("value", "postgresql+psycopg://db/jobs") for item in container["env"]}
    return load([], variables | {"JOB_EXPORTER_CONFIG": str(folder / "job-exporter.yaml")})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_a_configuration_that_loads(path: Path, tmp_path: Path) -> None:
    """The exporter loads the configuration of each example, and each file it names is in a mounted folder."""
    objects = rendered(f"--values={path}")
    settings = loaded(objects, tmp_path)
    given = yaml.safe_load(path.read_text())
    assert settings.require_platform() == given["config"]["api"]["base_url"]
    assert settings.log.format == "json"
    (container,) = pod_of(objects)["containers"]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    (own,) = [item["value"] for item in container["env"] if item["name"] == "JOB_EXPORTER_CONFIG"]
    for named in [own, *re.findall(r"/etc/job-exporter/\S+", config_of(objects))]:
        assert str(Path(named).parent) in mounts


def test_the_ledger_is_on_the_volume(tmp_path: Path) -> None:
    """With SQLite the ledger is a file on the claimed volume, and there is one pod."""
    objects = rendered()
    settings = loaded(objects, tmp_path)
    spec = only("StatefulSet", objects)["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod_of(objects)["containers"][0]["volumeMounts"]}
    folder = mounts[claim["metadata"]["name"]]
    assert settings.state.url.get_secret_value() == f"sqlite:///{folder}/job-exporter.db"
    assert spec["replicas"] == 1


def test_replicas_share_the_ledger_on_a_server() -> None:
    """With PostgreSQL there is no volume; the address comes from a Secret; pods are on different nodes."""
    objects = rendered(POSTGRESQL, "--set=replicas=2,networkPolicy.enabled=true")
    spec = only("StatefulSet", objects)["spec"]
    assert "volumeClaimTemplates" not in spec
    assert spec["replicas"] == 2
    (container,) = pod_of(objects)["containers"]
    (variable,) = [item for item in container["env"] if item["name"] == "JOB_EXPORTER_STATE__URL"]
    reference = variable["valueFrom"]["secretKeyRef"]
    secret = only("Secret", objects, suffix="-ledger")
    assert reference == {"name": secret["metadata"]["name"], "key": "url"}
    assert base64.b64decode(secret["data"]["url"]) == b"postgresql+psycopg://u:p@db/jobs"
    labels = spec["template"]["metadata"]["labels"].items()
    budget = only("PodDisruptionBudget", objects)["spec"]
    assert budget["maxUnavailable"] == 1
    (spread,) = pod_of(objects)["topologySpreadConstraints"]
    for selector in (budget["selector"], spread["labelSelector"]):
        assert selector["matchLabels"].items() <= labels
    ports = [port["port"] for ports in nested(only("NetworkPolicy", objects), "ports") for port in ports]
    assert 5432 in ports


def test_an_existing_secret_is_only_referred_to() -> None:
    """With Secrets of the user's the chart makes none; the pod names them and their keys."""
    objects = rendered(
        BASIC, "--set=credentials.existingSecret=mine,credentials.existingSecretKey=pw",
        "--set=ledger.type=postgresql,ledger.postgresql.existingSecret=db,ledger.postgresql.existingSecretKey=uri",
    )  # fmt: skip
    assert [item for item in objects if item["kind"] == "Secret"] == []
    pod = pod_of(objects)
    (volume,) = [item["secret"] for item in pod["volumes"] if item["name"] == "credentials"]
    assert volume["secretName"] == "mine"
    assert volume["items"] == [{"key": "pw", "path": "password"}]
    assert list(nested(pod["containers"][0]["env"], "secretKeyRef")) == [{"name": "db", "key": "uri"}]


@pytest.mark.parametrize(("kind", "file"), [("basic", "password"), ("bearer", "token")])
def test_a_created_secret_is_mounted(kind: str, file: str, tmp_path: Path) -> None:
    """A password or token among the values goes into a Secret, is mounted as the file that is configured, and
    is not in the ConfigMap.
    """
    user = ",credentials.username=someone" if kind == "basic" else ""
    objects = rendered(f"--set=credentials.type={kind},credentials.{file}=canary{user}")
    secret = only("Secret", objects, suffix="-credentials")
    assert {name: base64.b64decode(data) for name, data in secret["data"].items()} == {file: b"canary"}
    (volume,) = [item["secret"] for item in pod_of(objects)["volumes"] if item["name"] == "credentials"]
    assert volume["secretName"] == secret["metadata"]["name"]
    assert volume["items"] == [{"key": file, "path": file}]
    assert f"{file}_file: /etc/job-exporter/credentials/{file}" in config_of(objects)
    assert "canary" not in config_of(objects)
    assert loaded(objects, tmp_path).api.username == ("someone" if kind == "basic" else None)


def test_a_changed_configuration_restarts_the_pods() -> None:
    """The pod template differs after a change of the configuration or of the ledger's address, else not."""

    def template(*flags: str) -> Any:
        return only("StatefulSet", rendered(*flags))["spec"]["template"]["metadata"]["annotations"]

    assert template() == template("--set=service.port=80")
    assert template() != template("--set=config.poll.interval=30s")
    assert template(POSTGRESQL) != template(POSTGRESQL, "--set=ledger.postgresql.url=postgresql://other/jobs")


def test_selectors_find_the_pods() -> None:
    """StatefulSet, Services and NetworkPolicy select the pods; the ServiceMonitor selects one Service."""
    objects = rendered("--set=serviceMonitor.enabled=true,networkPolicy.enabled=true,commonLabels.team=a")
    stateful = only("StatefulSet", objects)["spec"]
    labels = stateful["template"]["metadata"]["labels"].items()
    assert stateful["selector"]["matchLabels"].items() <= labels
    services = [item for item in objects if item["kind"] == "Service"]
    for service in services:
        assert service["spec"]["selector"].items() <= labels
        assert service["spec"]["publishNotReadyAddresses"] is True
    assert only("NetworkPolicy", objects)["spec"]["podSelector"]["matchLabels"].items() <= labels
    monitor = only("ServiceMonitor", objects)["spec"]
    (found,) = [
        item
        for item in services
        if monitor["selector"]["matchLabels"].items() <= item["metadata"]["labels"].items()
    ]
    assert found["metadata"]["name"] == NAME
    assert found["metadata"]["labels"][monitor["jobLabel"]] == "job-exporter"
    headless = only("Service", objects, suffix="-headless")
    assert headless["spec"]["clusterIP"] == "None"
    assert stateful["serviceName"] == headless["metadata"]["name"]
    assert all(item["metadata"]["labels"]["team"] == "a" for item in objects)


def test_selectors_of_two_releases_differ() -> None:
    """Two releases in one namespace, for two platforms, do not select each other's pods."""
    selector = only("StatefulSet", rendered())["spec"]["selector"]["matchLabels"]
    assert selector["app.kubernetes.io/instance"] == RELEASE


def test_the_operators_labels_do_not_hide_ours() -> None:
    """The operator adds a label `endpoint`. The chart drops it, because the exporter has one of that name."""
    monitor = only("ServiceMonitor", rendered("--set=serviceMonitor.enabled=true"))["spec"]
    for endpoint in monitor["endpoints"]:
        assert {"action": "labeldrop", "regex": "endpoint"} in endpoint["relabelings"]


def test_ports_have_one_name_and_number() -> None:
    """Container, Services, ServiceMonitor and NetworkPolicy mean the port that the program listens on."""
    objects = rendered("--set=serviceMonitor.enabled=true,networkPolicy.enabled=true")
    (container,) = pod_of(objects)["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": 16868, "protocol": "TCP"}]
    (listened,) = load([], {}).web.listen_address
    assert listened.port == 16868
    for service in [item["spec"] for item in objects if item["kind"] == "Service"]:
        assert [(port["name"], port["targetPort"]) for port in service["ports"]] == [("http", "http")]
    (endpoint,) = only("ServiceMonitor", objects)["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", load([], {}).web.telemetry_path)
    (ingress,) = only("NetworkPolicy", objects)["spec"]["ingress"]
    assert [item["port"] for item in ingress["ports"]] == ["http"]


def test_the_telemetry_path_reaches_the_servicemonitor() -> None:
    """Prometheus scrapes the path that the configuration sets."""
    monitor = only(
        "ServiceMonitor", rendered("--set=serviceMonitor.enabled=true,config.web.telemetry_path=/own")
    )
    assert monitor["spec"]["endpoints"][0]["path"] == "/own"


@pytest.mark.parametrize(("tls", "scheme"), [("false", "HTTP"), ("true", "HTTPS")])
def test_probes_ask_by_http(tls: str, scheme: str) -> None:
    """Probes ask the program's own paths, with TLS if the web configuration turns it on."""
    (container,) = pod_of(rendered(f"--set=probes.type=http,web.existingSecret=s,web.tls={tls}"))[
        "containers"
    ]
    probes = [container[name] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert [probe["httpGet"] for probe in probes] == [
        {"path": path, "port": "http", "scheme": scheme} for path in ("/-/healthy", "/-/healthy", "/-/ready")
    ]
    patience = probes[0]["periodSeconds"] * probes[0]["failureThreshold"]
    assert patience == 120


@pytest.mark.parametrize("given", ["probes.type=exec", "web.existingSecret=s"])
def test_probes_can_be_a_command(given: str) -> None:
    """With a web configuration HTTP probes may have to log in, so the probes run a command."""
    (container,) = pod_of(rendered(f"--set={given}"))["containers"]
    assert "readinessProbe" not in container
    for name in ("startupProbe", "livenessProbe"):
        assert container[name]["exec"] == {"command": ["job-exporter", "healthcheck"]}
        assert "httpGet" not in container[name]


def test_probes_are_http_by_default() -> None:
    """Without a web configuration no process is started for a probe."""
    (container,) = pod_of(rendered())["containers"]
    assert "httpGet" in container["livenessProbe"]


def test_kubernetes_puts_no_variables_with_our_prefix_into_the_pod() -> None:
    """Service links are off. For a Service named job-exporter they would look like settings."""
    assert pod_of(rendered())["enableServiceLinks"] is False


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("http://jobs:6868", 6868),
        ("https://jobs.example.com", 443),
        ("http://jobs.example.com/base", 80),
        ("https://[2001:db8::1]:8443/x", 8443),
        ("http://[2001:db8::1]", 80),
    ],
)
def test_the_network_policy_opens_the_platforms_port(address: str, port: int) -> None:
    """Without ports of the user's the policy takes the port of the platform's address."""
    policy = only(
        "NetworkPolicy", rendered(f"--set=networkPolicy.enabled=true,config.api.base_url={address}")
    )
    assert [item["port"] for rule in policy["spec"]["egress"] for item in rule["ports"]] == [53, 53, port]


def test_kustomize_renders_the_chart(tmp_path: Path) -> None:
    """The kustomization that deploy/README.md proposes builds valid objects, with the user's values."""
    text = (DEPLOY / "README.md").read_text()
    start = text.index("    apiVersion: kustomize")
    proposal = textwrap.dedent(text[start : text.index("\n\n", start)])
    own = proposal.replace("path/to/checkout/deploy/helm", os.path.relpath(CHART.parent, tmp_path))
    assert own != proposal
    (tmp_path / "kustomization.yaml").write_text(own)
    (tmp_path / "values.yaml").write_text("config: {api: {base_url: http://mine:6868}}\n")
    result = run(tool("kustomize"), "build", "--enable-helm", f"--helm-command={tool('helm')}", str(tmp_path))
    assert result.returncode == 0, result.stderr
    objects = [item for item in yaml.safe_load_all(result.stdout) if item]
    for item in objects:
        validate(item, "1.32")
        assert item["metadata"]["namespace"] == "job-exporter"
    (config,) = [item for item in objects if item["kind"] == "ConfigMap"]
    assert "http://mine:6868" in config["data"]["job-exporter.yaml"]
    (stateful,) = [item for item in objects if item["kind"] == "StatefulSet"]
    assert stateful["spec"]["template"]["metadata"]["labels"]["team"] == "jobs"
