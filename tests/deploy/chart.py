"""What the tests of the Helm chart share: rendering, schemas of objects, and the rules of restricted pods."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from tests.harness.deploy import DEPLOY, run, tool

CHART = DEPLOY / "helm" / "job-exporter"
EXAMPLES = sorted((CHART / "ci").glob("*-values.yaml"))
RELEASE, NAMESPACE = "jobs", "monitored"

# Types of the operator's API (monitoring.coreos.com/v1), as far as the chart uses them; strict on the rest.
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
TIME = {"type": "string", "pattern": r"^(0|(\d+(ms|[smhdwy]))+)$"}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": items}


RULE = _object(
    ["expr"],
    alert={"type": "string", "pattern": "^[A-Z][A-Za-z0-9]*$"},
    record={"type": "string", "pattern": "^[a-z_:][a-z0-9_:]*$"},
    expr={"type": ["string", "integer"]},
    **{"for": TIME},
    keep_firing_for=TIME,
    labels=TEXTS,
    annotations=TEXTS,
) | {"oneOf": [{"required": ["alert"]}, {"required": ["record"]}]}
GROUP = _object(["name", "rules"], name={"type": "string", "minLength": 1}, interval=TIME, rules=_list(RULE))
RELABELING = _object(
    [],
    action={"enum": ["labeldrop", "replace"]},
    regex={"type": "string"},
    targetLabel={"type": "string"},
    replacement={"type": "string"},
)
KEY = _object(["name", "key"], name={"type": "string"}, key={"type": "string"})
ENDPOINT = _object(
    ["port"],
    port={"type": "string"},
    path={"type": "string", "pattern": "^/"},
    scheme={"enum": ["http", "https"]},
    interval=TIME,
    scrapeTimeout=TIME,
    tlsConfig=_object([], ca=_object([], secret=KEY), serverName={"type": "string"}),
    basicAuth=_object(["username", "password"], username=KEY, password=KEY),
    relabelings=_list(RELABELING),
    metricRelabelings=_list(RELABELING),
)
OPERATOR = {
    "PrometheusRule": _object(["groups"], groups=_list(GROUP)),
    "ServiceMonitor": _object(
        ["selector", "endpoints"],
        jobLabel={"type": "string"},
        selector=_object(["matchLabels"], matchLabels=TEXTS),
        endpoints=_list(ENDPOINT),
    ),
}
# The kinds of volumes that "restricted" allows.
VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected",
    "secret",
}  # fmt: skip


def helm(*arguments: str) -> str:
    """Run helm and give its output; an error that it tells is raised as ValueError."""
    result = run(tool("helm"), *arguments)
    if result.returncode:
        raise ValueError(result.stderr)
    return result.stdout


@functools.cache
def rendered(*flags: str, chart: Path = CHART) -> tuple[dict[str, Any], ...]:
    """Give every object that `helm template` makes with these flags. Callers must not change them."""
    text = helm("template", RELEASE, str(chart), f"--namespace={NAMESPACE}", *flags)
    return tuple(item for item in yaml.safe_load_all(text) if item)


def only(kind: str, among: tuple[dict[str, Any], ...], *, suffix: str = "") -> dict[str, Any]:
    """Give the one object of a kind whose name ends like this."""
    (found,) = [
        item
        for item in among
        if item["kind"] == kind and item["metadata"]["name"] == f"{RELEASE}-job-exporter{suffix}"
    ]
    return found


def pod_of(among: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """Give the specification of the pod."""
    spec: dict[str, Any] = only("StatefulSet", among)["spec"]["template"]["spec"]
    return spec


def config_of(among: tuple[dict[str, Any], ...]) -> str:
    """Give the configuration file of the exporter."""
    text: str = only("ConfigMap", among)["data"]["job-exporter.yaml"]
    return text


def validate(item: dict[str, Any], version: str) -> None:
    """Raise if an object does not fit the schema of this version of Kubernetes, unknown fields included."""
    if item["kind"] in OPERATOR:
        assert item["apiVersion"] == "monitoring.coreos.com/v1"
        jsonschema.validate(item["spec"], OPERATOR[item["kind"]])
    else:
        kubernetes_validate.validate(item, version, strict=True)


def unrestricted(pod: dict[str, Any]) -> Iterator[str]:
    """Name what the Pod Security Standard "restricted" would refuse of a pod."""
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name))
    yield from (f"volume {item['name']}" for item in pod["volumes"] if set(item) - {"name"} - VOLUMES)
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        yield from _loose(pod.get("securityContext") or {}, container)


def _loose(shared: dict[str, Any], container: dict[str, Any]) -> Iterator[str]:
    own = container.get("securityContext") or {}
    both = {**shared, **own}
    capabilities = own.get("capabilities") or {}
    if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
        yield "runs as root"
    if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile"
    if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
        yield "allowPrivilegeEscalation"
    if capabilities.get("drop") != ["ALL"] or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities"
    yield from ("hostPort" for port in container.get("ports", []) if "hostPort" in port)
