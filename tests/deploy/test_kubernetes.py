"""The Kubernetes manifests as kustomize builds them: schemas, references, what the pod may do."""

import os
import textwrap
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

import exporter
from tests.harness.deploy import KUBERNETES, documents, nested, run, tool

BASE = KUBERNETES / "base"
MONITORING = KUBERNETES / "overlays" / "monitoring"
REPLICAS = KUBERNETES / "overlays" / "replicas"
OWN_KINDS = {"ServiceMonitor", "PrometheusRule", "Kustomization"}

# What the operator's API (monitoring.coreos.com/v1) takes, as far as it is used here; strict on the rest.
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
TIME = {"type": "string", "pattern": r"^(0|(\d+(ms|[smhdwy]))+)$"}
RULE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["expr"],
    "oneOf": [{"required": ["alert"]}, {"required": ["record"]}],
    "properties": {
        "alert": {"type": "string", "pattern": "^[A-Z][A-Za-z0-9]*$"},
        "record": {"type": "string", "pattern": "^[a-z_:][a-z0-9_:]*$"},
        "expr": {"type": ["string", "integer"]},
        "for": TIME,
        "keep_firing_for": TIME,
        "labels": TEXTS,
        "annotations": TEXTS,
    },
}
GROUP = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "rules"],
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "interval": TIME,
        "limit": {"type": "integer"},
        "query_offset": TIME,
        "labels": TEXTS,
        "rules": {"type": "array", "minItems": 1, "items": RULE},
    },
}
RELABELING = {
    "type": "object",
    "additionalProperties": False,
    "required": ["action", "regex"],
    "properties": {"action": {"enum": ["labeldrop", "labelkeep"]}, "regex": {"type": "string"}},
}
ENDPOINT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["port"],
    "properties": {
        "port": {"type": "string"},
        "path": {"type": "string"},
        "interval": TIME,
        "scrapeTimeout": TIME,
        "relabelings": {"type": "array", "items": RELABELING},
    },
}
SPECS: dict[str, dict[str, Any]] = {
    "PrometheusRule": {
        "type": "object",
        "additionalProperties": False,
        "required": ["groups"],
        "properties": {"groups": {"type": "array", "minItems": 1, "items": GROUP}},
    },
    "ServiceMonitor": {
        "type": "object",
        "additionalProperties": False,
        "required": ["selector", "endpoints"],
        "properties": {
            "jobLabel": {"type": "string"},
            "selector": {"type": "object", "required": ["matchLabels"], "properties": {"matchLabels": TEXTS}},
            "endpoints": {"type": "array", "minItems": 1, "items": ENDPOINT},
        },
    },
}


def manifests() -> list[dict[str, Any]]:
    """Every manifest as committed, the kustomizations and the configuration left out."""
    files = [
        path
        for path in KUBERNETES.rglob("*.yaml")
        if path.name not in ("kustomization.yaml", "job-exporter.yaml")
    ]
    return [document for path in sorted(files) for document in documents(path)]


def only(kind: str, among: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The one manifest of a kind."""
    (found,) = [item for item in (manifests() if among is None else among) if item["kind"] == kind]
    return found


def built(folder: Path) -> list[dict[str, Any]]:
    """What `kustomize build` makes of a folder."""
    result = run(tool("kustomize"), "build", str(folder))
    assert result.returncode == 0, result.stderr
    return [item for item in yaml.safe_load_all(result.stdout) if item]


def validate(manifest: dict[str, Any]) -> None:
    """Raise where a manifest is against its schema, an unknown field included."""
    if manifest["kind"] in SPECS:
        assert manifest["apiVersion"] == "monitoring.coreos.com/v1"
        jsonschema.validate(manifest["spec"], SPECS[manifest["kind"]])
    else:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_every_manifest_fits_its_schema() -> None:
    """Core kinds pass Kubernetes' own schema, strictly, the operator's kinds what is known of theirs."""
    found = manifests()
    for manifest in found:
        validate(manifest)
    assert {item["kind"] for item in found} == {
        "ServiceAccount", "Service", "StatefulSet", "ServiceMonitor", "PrometheusRule", "NetworkPolicy",
        "PodDisruptionBudget",
    }  # fmt: skip


@pytest.mark.parametrize("version", ["1.29", "1.32"])
def test_older_clusters_take_the_core_manifests(version: str) -> None:
    """Nothing newer than these versions of Kubernetes is used."""
    for manifest in manifests():
        if manifest["kind"] not in OWN_KINDS:
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("folder", [BASE, MONITORING, REPLICAS], ids=lambda folder: folder.name)
def test_each_kustomization_is_whole(folder: Path) -> None:
    """Every file and folder a kustomization names exists, and no manifest beside it is forgotten."""
    (kustomization,) = documents(folder / "kustomization.yaml")
    assert kustomization["kind"] == "Kustomization"
    named = set(kustomization["resources"])
    named |= {file for item in kustomization.get("configMapGenerator", []) for file in item["files"]}
    for name in named:
        target = (folder / name).resolve()
        assert target.is_file() or (target / "kustomization.yaml").is_file(), name
    assert {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"} <= named


@pytest.mark.parametrize("folder", [BASE, MONITORING, REPLICAS], ids=lambda folder: folder.name)
def test_kustomize_builds_what_kubernetes_takes(folder: Path) -> None:
    """The real kustomize builds each folder; its result is valid, and the pod gets its configuration."""
    result = built(folder)
    for manifest in result:
        validate(manifest)
    config = only("ConfigMap", result)
    pod = only("StatefulSet", result)["spec"]["template"]["spec"]
    assert {"name": "config", "configMap": {"name": config["metadata"]["name"]}} in pod["volumes"]
    assert config["metadata"]["name"].startswith("job-exporter-")
    assert config["data"]["job-exporter.yaml"] == (BASE / "job-exporter.yaml").read_text()


def test_the_readmes_kustomization_works(tmp_path: Path) -> None:
    """The kustomization that deploy/README.md proposes builds, with the user's image and configuration."""
    text = (KUBERNETES.parent / "README.md").read_text()
    start = text.index("       apiVersion: kustomize")
    proposal = textwrap.dedent(text[start : text.index("\n\n", start)])
    own = proposal.replace(
        "github.com/your/checkout/deploy/kubernetes", os.path.relpath(KUBERNETES, tmp_path)
    )
    (tmp_path / "kustomization.yaml").write_text(own)
    (tmp_path / "job-exporter.yaml").write_text("api: {base_url: http://mine:6868}\n")
    result = built(tmp_path)
    for manifest in result:
        validate(manifest)
        assert manifest["metadata"]["namespace"] == "job-exporter"
    assert "http://mine:6868" in only("ConfigMap", result)["data"]["job-exporter.yaml"]
    (container,) = only("StatefulSet", result)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example.com/job-exporter:{exporter.__version__}"


def test_the_image_is_of_this_version() -> None:
    """The base names the image by the version of this checkout, never by latest."""
    (kustomization,) = documents(BASE / "kustomization.yaml")
    assert kustomization["images"] == [{"name": "job-exporter", "newTag": exporter.__version__}]
    (container,) = only("StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "job-exporter"


def test_selectors_find_the_pod() -> None:
    """StatefulSet, Service, ServiceMonitor and NetworkPolicy select by labels that their targets carry."""
    stateful, service = only("StatefulSet")["spec"], only("Service")
    labels = stateful["template"]["metadata"]["labels"].items()
    assert stateful["selector"]["matchLabels"].items() <= labels
    assert service["spec"]["selector"].items() <= labels
    assert only("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels
    monitor = only("ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "job-exporter"
    assert stateful["serviceName"] == service["metadata"]["name"]
    assert all(
        key.startswith("app.kubernetes.io/") for item in manifests() for key in item["metadata"]["labels"]
    )


def test_the_operators_labels_do_not_hide_ours() -> None:
    """Of the labels that the operator adds, `endpoint` is also the exporter's own, so it is dropped."""
    for endpoint in only("ServiceMonitor")["spec"]["endpoints"]:
        assert {"action": "labeldrop", "regex": "endpoint"} in endpoint["relabelings"]


def test_ports_have_one_name_and_number() -> None:
    """Container, Service, probes, ServiceMonitor and NetworkPolicy mean the program's port."""
    (container,) = only("StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": 16868, "protocol": "TCP"}]
    (port,) = only("Service")["spec"]["ports"]
    assert (port["name"], port["port"], port["targetPort"]) == ("http", 16868, "http")
    assert {endpoint["port"] for endpoint in only("ServiceMonitor")["spec"]["endpoints"]} == {"http"}
    (ingress,) = only("NetworkPolicy")["spec"]["ingress"]
    assert [item["port"] for item in ingress["ports"]] == ["http"]
    probes = [container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert [(probe["path"], probe["port"]) for probe in probes] == [
        ("/-/healthy", "http"), ("/-/healthy", "http"), ("/-/ready", "http"),
    ]  # fmt: skip


def test_the_pod_is_restricted() -> None:
    """The pod meets the Pod Security Standard "restricted", and more: read-only, and no token at all."""
    pod = only("StatefulSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert only("ServiceAccount")["automountServiceAccountToken"] is False
    assert container["resources"]["limits"]["memory"]
    assert not list(nested(pod, "hostPath"))


def test_kubernetes_puts_no_variables_with_our_prefix_into_the_pod() -> None:
    """Service links are off: of a Service named job-exporter they look like settings."""
    assert only("StatefulSet")["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_one_writer_on_one_volume() -> None:
    """There is one replica; every mount has its volume, and the ledger's outlives the pod."""
    spec = only("StatefulSet")["spec"]
    pod = spec["template"]["spec"]
    assert spec["replicas"] == 1
    claims = {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
    volumes = {volume["name"] for volume in pod["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert set(mounts) == claims | volumes
    assert {name: mounts[name] for name in claims} == {"ledger": "/var/lib/job-exporter"}


def test_replicas_share_the_ledger_on_a_server() -> None:
    """Two pods, no volume of their own, the address from a Secret, the server reachable."""
    result = built(REPLICAS)
    spec = only("StatefulSet", result)["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert spec["replicas"] == 2
    assert "volumeClaimTemplates" not in spec
    assert {mount["name"] for mount in container["volumeMounts"]} == {item["name"] for item in pod["volumes"]}
    assert container["env"] == [
        {
            "name": "JOB_EXPORTER_STATE__URL",
            "valueFrom": {"secretKeyRef": {"name": "job-exporter-ledger", "key": "url"}},
        }
    ]
    labels = spec["template"]["metadata"]["labels"].items()
    budget = only("PodDisruptionBudget", result)["spec"]
    assert budget["maxUnavailable"] == 1
    (spread,) = pod["topologySpreadConstraints"]
    for selector in (budget["selector"], spread["labelSelector"]):
        assert selector["matchLabels"].items() <= labels
    ports = [port["port"] for ports in nested(only("NetworkPolicy", result), "ports") for port in ports]
    assert 5432 in ports
    (alone,) = only("StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert container["securityContext"] == alone["securityContext"]


def test_a_secret_is_only_referred_to() -> None:
    """No Secret and no password is in the manifests: the pod names the Secret that its operator makes."""
    pod = only("StatefulSet")["spec"]["template"]["spec"]
    assert [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume] == [
        "job-exporter-credentials"
    ]
    (config,) = documents(BASE / "job-exporter.yaml")
    assert not {"password", "headers"} & set(config["api"])
    mount = next(item for item in pod["containers"][0]["volumeMounts"] if item["name"] == "credentials")
    assert config["api"]["password_file"].startswith(mount["mountPath"] + "/")
