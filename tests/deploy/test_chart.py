"""The Helm chart as Helm renders it: valid objects, restricted pods, refused values, files that match."""

import json
import tarfile
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

import exporter
from tests.deploy.chart import (
    CHART,
    EXAMPLES,
    NAMESPACE,
    RELEASE,
    helm,
    only,
    pod_of,
    rendered,
    unrestricted,
    validate,
)
from tests.harness.deploy import ROOT, documents

pytestmark = pytest.mark.chart

RULES = ROOT / "deploy" / "prometheus" / "rules"
DASHBOARDS = ROOT / "grafana" / "dashboards"
ALL_FEATURES = ("serviceMonitor.enabled=true", "prometheusRule.enabled=true", "dashboards.enabled=true",
                "networkPolicy.enabled=true")  # fmt: skip
POSTGRESQL = ("ledger.type=postgresql", "ledger.postgresql.url=postgresql+psycopg://u:p@db/jobs")

# Every feature by itself: what is set with --set.
FEATURES: dict[str, tuple[str, ...]] = {
    "default": (),
    "everything for monitoring": ALL_FEATURES,
    "created password": ("credentials.type=basic", "credentials.username=u", "credentials.password=p"),
    "existing password": ("credentials.type=basic", "credentials.username=u", "credentials.existingSecret=s"),
    "created token": ("credentials.type=bearer", "credentials.token=t"),
    "existing token": (
        "credentials.type=bearer", "credentials.existingSecret=s", "credentials.existingSecretKey=k",
    ),
    "PostgreSQL, created Secret": POSTGRESQL,
    "PostgreSQL, existing Secret": ("ledger.type=postgresql", "ledger.postgresql.existingSecret=s"),
    "three replicas": (*POSTGRESQL, "replicas=3"),
    "no replica": ("replicas=0",),
    "another name": ("fullnameOverride=other",),
    "labels and annotations": (
        "commonLabels.team=a", "commonAnnotations.note=b", "podLabels.tier=c", "podAnnotations.hint=d",
        "service.annotations.e=f", "serviceAccount.annotations.g=h",
    ),
    "image": ("image.repository=registry.example.com/x", "image.tag=1.2.3", "image.pullPolicy=Always",
              "imagePullSecrets[0].name=pull"),
    "image by digest": (f"image.digest=sha256:{'0' * 64}",),
    "volume": (
        "ledger.volume.size=5Gi", "ledger.volume.storageClassName=fast", "ledger.volume.annotations.a=b",
    ),
    "scheduling": (
        "priorityClassName=high", "nodeSelector.disk=ssd", "tolerations[0].operator=Exists",
        "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight=1",
        "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchFields[0].key=a",
        "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchFields[0].operator=Exists",
        "topologySpreadConstraints[0].maxSkew=1", "topologySpreadConstraints[0].topologyKey=zone",
        "topologySpreadConstraints[0].whenUnsatisfiable=DoNotSchedule",
    ),
    "probes by command": ("probes.type=exec", "probes.startup.initialDelaySeconds=1"),
    "TLS": ("web.existingSecret=s", "web.tls=true", "serviceMonitor.enabled=true"),
    "existing account": ("serviceAccount.create=false", "serviceAccount.name=mine"),
    "no user id, as OpenShift wants it": (
        "podSecurityContext.runAsUser=null", "podSecurityContext.fsGroup=null",
    ),
    "more resources": ("resources.limits.cpu=2", "resources.requests.memory=1Gi"),
    "Service": ("service.type=NodePort", "service.port=80"),
    "second platform": (
        "serviceMonitor.enabled=true", "serviceMonitor.relabelings[0].targetLabel=platform",
        "serviceMonitor.relabelings[0].replacement=b",
    ),
    "network": (
        "networkPolicy.enabled=true", "networkPolicy.platformPorts={1,2}",
        "networkPolicy.platformTo[0].ipBlock.cidr=192.0.2.0/24",
        "networkPolicy.extraEgress[0].ports[0].port=3128",
    ),
}  # fmt: skip
VARIANTS = {
    **{path.stem.removesuffix("-values"): (f"--values={path}",) for path in EXAMPLES},
    **{name: tuple(f"--set={one}" for one in given) for name, given in FEATURES.items()},
}
every_variant = pytest.mark.parametrize("flags", VARIANTS.values(), ids=VARIANTS)

REFUSED = {
    "a name that does not exist": ("nosuch=1", "'nosuch' not allowed"),
    "a name below that does not exist": ("image.tagg=1", "'tagg' not allowed"),
    "a misspelled setting": ("config.api.base_ur=x", "'base_ur' not allowed"),
    "a group of settings that does not exist": ("config.apo.timeout=1s", "'apo' not allowed"),
    "a password in the ConfigMap": ("config.api.password=x", "'password' not allowed"),
    "an address without scheme": ("config.api.base_url=jobs:6868", "/config/api/base_url"),
    "two replicas on SQLite": ("replicas=2", "/replicas"),
    "a login without a user": ("credentials.type=basic", "/credentials/username"),
    "a login without a password": ("credentials.type=basic,credentials.username=u", "/credentials/password"),
    "two passwords": (
        "credentials.type=basic,credentials.username=u,credentials.password=p,credentials.existingSecret=s",
        "oneOf",
    ),
    "a token without its type": ("credentials.token=t", "/credentials/token"),
    "an unknown login": ("credentials.type=digest", "/credentials/type"),
    "PostgreSQL without an address": ("ledger.type=postgresql", "/ledger/postgresql/url"),
    "TLS without a certificate": ("web.tls=true", "/web/existingSecret"),
    "an unknown probe": ("probes.type=tcp", "/probes/type"),
    "a misspelled probe": ("probes.startup.period=1", "'period' not allowed"),
    "a port out of range": ("service.port=70000", "/service/port"),
    "a tag as digest": ("image.digest=1.0", "/image/digest"),
    "a number as label": ("podLabels.a=1", "/podLabels/a"),
    "a time without a unit": ("serviceMonitor.interval=15", "/serviceMonitor/interval"),
    "a name with capitals": ("fullnameOverride=Jobs", "/fullnameOverride"),
}


@every_variant
def test_every_object_is_valid(flags: tuple[str, ...]) -> None:
    """Kubernetes 1.29, 1.32 and the newest take every object; no field is unknown; names are unique."""
    result = rendered(*flags)
    for item in result:
        for version in ("1.29", "1.32", kubernetes_validate.latest_version()):
            validate(item, version)
    names = [(item["kind"], item["metadata"]["name"]) for item in result]
    assert len(set(names)) == len(names)
    assert {item["metadata"]["namespace"] for item in result} == {NAMESPACE}


@every_variant
def test_every_pod_is_restricted(flags: tuple[str, ...]) -> None:
    """Pods meet the Pod Security Standard "restricted". Their root is read-only and they have no token."""
    (stateful,) = [item for item in rendered(*flags) if item["kind"] == "StatefulSet"]
    pod = stateful["spec"]["template"]["spec"]
    assert list(unrestricted(pod)) == []
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        for limit in ("memory", "ephemeral-storage"):
            assert limit in container["resources"]["limits"]


def test_an_unrestricted_pod_is_noticed() -> None:
    """The check of pods finds what a values file loosens."""
    flags = (
        "podSecurityContext=null",
        "securityContext.capabilities=null",
        "securityContext.privileged=true",
    )
    loose = pod_of(rendered(*(f"--set={one}" for one in flags)))
    assert list(unrestricted(loose)) == [
        "runs as root", "seccompProfile", "allowPrivilegeEscalation", "capabilities",
    ]  # fmt: skip


@every_variant
def test_every_mount_has_its_volume(flags: tuple[str, ...]) -> None:
    """Each volume and claim is mounted exactly once, and each mount has its volume."""
    (stateful,) = [item["spec"] for item in rendered(*flags) if item["kind"] == "StatefulSet"]
    pod = stateful["template"]["spec"]
    claims = [claim["metadata"]["name"] for claim in stateful.get("volumeClaimTemplates", [])]
    volumes = [volume["name"] for volume in pod["volumes"]]
    assert sorted(mount["name"] for mount in pod["containers"][0]["volumeMounts"]) == sorted(claims + volumes)


@pytest.mark.parametrize("path", [None, *EXAMPLES], ids=lambda path: path.name if path else "no values")
def test_helm_lint_is_content(path: Path | None) -> None:
    """`helm lint --strict` finds nothing in the defaults and in each example."""
    helm("lint", "--strict", str(CHART), *([f"--values={path}"] if path else []))


@pytest.mark.parametrize(("given", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_values_are_refused(given: str, message: str) -> None:
    """The schema refuses values that cannot work, and names the value."""
    with pytest.raises(ValueError, match="specifications of the schema") as refusal:
        helm("template", RELEASE, str(CHART), f"--set={given}")
    assert message in str(refusal.value)


def test_the_chart_works_below_another() -> None:
    """Helm gives a subchart the value `global`; the schema accepts it."""
    assert rendered("--set=global.team=x")


def test_the_prometheusrule_holds_the_rules_unchanged() -> None:
    """The groups of the PrometheusRule are those of deploy/prometheus/rules, in the order of the files."""
    rule = only("PrometheusRule", rendered("--set=prometheusRule.enabled=true"))
    groups = [
        group for path in sorted(RULES.iterdir()) for item in documents(path) for group in item["groups"]
    ]
    assert rule["spec"]["groups"] == groups
    names = [group["name"] for group in groups]
    assert len(set(names)) == len(names)


def test_thresholds_and_runbook_can_be_set() -> None:
    """The user's threshold and address of the runbook replace those of the files, and nothing else."""
    flags = ("prometheusRule.enabled=true", "prometheusRule.runbookUrl=https://wiki/x",
             "prometheusRule.thresholds.job:success_objective:ratio=vector(0.99)")  # fmt: skip
    plain = only("PrometheusRule", rendered("--set=prometheusRule.enabled=true"))["spec"]["groups"]
    own = only("PrometheusRule", rendered(*(f"--set={one}" for one in flags)))["spec"]["groups"]
    before = [rule for group in plain for rule in group["rules"]]
    after = [rule for group in own for rule in group["rules"]]
    changed = {rule["record"]: rule for old, rule in zip(before, after, strict=True) if old != rule}
    assert set(changed) == {"job:success_objective:ratio", "job_runbook:base:info"}
    assert changed["job:success_objective:ratio"]["expr"] == "vector(0.99)"
    assert changed["job_runbook:base:info"]["labels"] == {"url": "https://wiki/x"}


def test_an_unknown_threshold_is_refused() -> None:
    """A threshold that no rule records is an error that names it."""
    flags = ("--set=prometheusRule.enabled=true", "--set=prometheusRule.thresholds.job:nosuch=vector(1)")
    with pytest.raises(ValueError, match="no recorded series is named job:nosuch"):
        rendered(*flags)


def test_the_dashboards_are_those_of_grafana() -> None:
    """Each dashboard is a ConfigMap: the unchanged file, with the label that Grafana's sidecar looks for."""
    maps = [
        item
        for item in rendered("--set=dashboards.enabled=true,dashboards.annotations.grafana_folder=Jobs")
        if item["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]
    found = {name: text for item in maps for name, text in item["data"].items()}
    assert found == {path.name: path.read_text() for path in DASHBOARDS.glob("*.json")}
    assert {item["metadata"]["annotations"]["grafana_folder"] for item in maps} == {"Jobs"}


def test_the_packaged_chart_is_whole(tmp_path: Path) -> None:
    """`helm package` resolves the links: the package renders the same. Values of the tests stay out."""
    helm("package", str(CHART), f"--destination={tmp_path}")
    (package,) = tmp_path.iterdir()
    with tarfile.open(package) as archive:
        names = set(archive.getnames())
    assert {f"job-exporter/files/rules/{path.name}" for path in RULES.iterdir()} <= names
    assert {f"job-exporter/files/dashboards/{path.name}" for path in DASHBOARDS.iterdir()} <= names
    assert not [name for name in names if "/ci/" in name]
    flags = tuple(f"--set={one}" for one in ALL_FEATURES)
    assert rendered(*flags, chart=package) == rendered(*flags)


def test_the_chart_is_of_this_version() -> None:
    """Chart and image have the version of this checkout, never `latest`."""
    (chart,) = documents(CHART / "Chart.yaml")
    assert chart["version"] == chart["appVersion"] == exporter.__version__
    (container,) = pod_of(rendered())["containers"]
    assert container["image"] == f"job-exporter:{exporter.__version__}"


def test_the_notes_say_what_to_do_next(tmp_path: Path) -> None:
    """The notes hold commands with the names of the release, and warn of the example address."""
    folder = tmp_path / "job-exporter"
    folder.mkdir()
    for path in CHART.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "templates").unlink()
    (folder / "templates").mkdir()
    for path in (CHART / "templates").iterdir():
        (folder / "templates" / path.name).symlink_to(path)
    # Helm prints notes only for a real cluster. A template may include them by their path.
    show = '{"kind": "Notes", "text": {{ include "job-exporter/templates/NOTES.txt" . | toJson }}}'
    (folder / "templates" / "show.yaml").write_text(show)

    def notes(*flags: str) -> str:
        text = helm(
            "template",
            RELEASE,
            str(folder),
            f"--namespace={NAMESPACE}",
            "--show-only=templates/show.yaml",
            *flags,
        )
        return str(next(iter(yaml.safe_load_all(text)))["text"])

    default = notes()
    assert "WARNING: config.api.base_url" in default
    assert f"kubectl --namespace {NAMESPACE} rollout status statefulset/{RELEASE}-job-exporter" in default
    assert f"ledger-{RELEASE}-job-exporter-0" in default
    own = notes(
        "--set=config.api.base_url=http://mine:1,web.existingSecret=s,web.tls=true,serviceMonitor.enabled=true"
    )
    assert "WARNING" not in own
    assert "https://localhost:16868" in own
    assert "serviceMonitor.enabled" not in own


def test_the_schema_forbids_unknown_names_everywhere() -> None:
    """Every object of the schema lists its names, except those that Kubernetes itself checks."""
    schema = json.loads((CHART / "values.schema.json").read_text())

    def open_objects(node: dict[str, object], path: str) -> list[str]:
        properties = node.get("properties")
        if isinstance(properties, dict):
            assert "additionalProperties" in node, path
            return [name for key, item in properties.items() for name in open_objects(item, f"{path}.{key}")]
        return [path] if node.get("type") == "object" and "additionalProperties" not in node else []

    assert set(open_objects(schema, "")) == {
        ".affinity", ".global", ".podSecurityContext", ".securityContext", ".serviceMonitor.basicAuth",
        ".serviceMonitor.tlsConfig",
    }  # fmt: skip
