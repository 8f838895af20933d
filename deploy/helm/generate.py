"""Writes the chart's values.schema.json and the table of values in its README.md, from values.yaml.

After a change of values.yaml or of the exporter's settings run `.venv/bin/python deploy/helm/generate.py`.
A test checks that both files are current. Comments follow helm-docs: the lines from `# --` on, right above a
key, are its description. Types come from the defaults; the tables below say what a default cannot.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from exporter.settings import catalog

CHART = Path(__file__).resolve().parent / "job-exporter"
BEGIN, END = "<!-- begin: values -->", "<!-- end: values -->"

# Settings that other values of the chart set. Secret ones are left out, too, because this is a ConfigMap.
SET_BY_CHART = {
    "config", "api.username", "api.password_file", "api.token_file", "state.url", "web.config_file",
    "web.listen_address",
}  # fmt: skip

Schema = dict[str, Any]
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
OBJECT: Schema = {"type": "object"}  # what Kubernetes or the operator itself checks
OBJECTS: Schema = {"type": "array", "items": OBJECT}
QUANTITIES: Schema = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
DURATION: Schema = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
SECONDS: Schema = {"type": "integer", "minimum": 0}
TIMINGS = ("initialDelaySeconds", "periodSeconds", "timeoutSeconds", "successThreshold", "failureThreshold")
PROBE: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": dict.fromkeys(TIMINGS, SECONDS),
}
NAME: Schema = {"type": "string", "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"}

SPECIAL: dict[str, Schema] = {
    "fullnameOverride": NAME,
    "image.repository": {"type": "string", "minLength": 1},
    "image.digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "credentials.type": {"enum": ["none", "basic", "bearer"]},
    "ledger.type": {"enum": ["sqlite", "postgresql"]},
    "ledger.volume.size": {"type": "string", "pattern": "^[0-9.]+([KMGTPE]i?)?$"},
    "ledger.volume.accessModes": {
        "type": "array",
        "minItems": 1,
        "items": {"enum": ["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"]},
    },
    "ledger.postgresql.port": PORT,
    "replicas": {"type": "integer", "minimum": 0},
    "resources.requests": QUANTITIES,
    "resources.limits": QUANTITIES,
    "probes.type": {"enum": ["", "http", "exec"]},
    "probes.startup": PROBE,
    "probes.liveness": PROBE,
    "probes.readiness": PROBE,
    "podSecurityContext": OBJECT,
    "securityContext": OBJECT,
    "affinity": OBJECT,
    "terminationGracePeriodSeconds": SECONDS,
    "service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "service.port": PORT,
    "podDisruptionBudget.maxUnavailable": {"type": ["integer", "string"], "pattern": "^[0-9]+%$"},
    "networkPolicy.platformPorts": {"type": "array", "items": PORT},
    "serviceMonitor.interval": DURATION,
    "serviceMonitor.scrapeTimeout": DURATION,
    "serviceMonitor.tlsConfig": OBJECT,
    "serviceMonitor.basicAuth": OBJECT,
}


def _is(path: str, schema: Schema) -> Schema:
    for name in reversed(path.split(".")):
        schema = {"required": [name], "properties": {name: schema}}
    return schema


def _rule(condition: Schema, *demands: Schema) -> Schema:
    return {"if": condition, "then": {"allOf": list(demands)}}


SET: Schema = {"minLength": 1}
UNSET: Schema = {"maxLength": 0}
RULES = [
    _rule(
        _is("credentials.type", {"const": "none"}),
        *(_is(f"credentials.{name}", UNSET) for name in ("username", "existingSecret", "password", "token")),
    ),
    _rule(
        _is("credentials.type", {"const": "basic"}),
        _is("credentials.username", SET),
        {"oneOf": [_is("credentials.existingSecret", SET), _is("credentials.password", SET)]},
    ),
    _rule(
        _is("credentials.type", {"const": "bearer"}),
        {"oneOf": [_is("credentials.existingSecret", SET), _is("credentials.token", SET)]},
    ),
    _rule(_is("ledger.type", {"const": "sqlite"}), _is("replicas", {"maximum": 1})),
    _rule(
        _is("ledger.type", {"const": "postgresql"}),
        {"oneOf": [_is("ledger.postgresql.existingSecret", SET), _is("ledger.postgresql.url", SET)]},
    ),
    _rule(_is("web.tls", {"const": True}), _is("web.existingSecret", SET)),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One documented value of the chart."""

    path: str
    default: Any
    description: str


def values(text: str) -> Iterator[Value]:
    """Give every documented value of a values.yaml, in its order."""
    yield from _below(yaml.compose(text, yaml.SafeLoader), "", text.splitlines())


def _below(node: yaml.Node | None, prefix: str, lines: list[str]) -> Iterator[Value]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        description = _comment(lines, key.start_mark.line)
        if description:
            loader = yaml.SafeLoader("")
            yield Value(path=path, default=loader.construct_object(value, deep=True), description=description)
        else:
            yield from _below(value, f"{path}.", lines)


def _comment(lines: list[str], line: int) -> str:
    first = line
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    block = [text.strip().removeprefix("#").strip() for text in lines[first:line]]
    starts = [index for index, text in enumerate(block) if text.startswith("-- ")]
    return " ".join(block[starts[-1] :]).removeprefix("-- ") if starts else ""


def schema(documented: list[Value]) -> Schema:
    """Give the JSON schema: no name that is not in values.yaml, and what values demand of each other."""
    root: Schema = {"type": "object", "additionalProperties": False, "properties": {}}
    for value in documented:
        *groups, name = value.path.split(".")
        place = root
        for depth, group in enumerate(groups, 1):
            more = SPECIAL.get(".".join(groups[:depth]), {"additionalProperties": False})
            place = place["properties"].setdefault(group, {"type": "object", **more, "properties": {}})
        place["properties"][name] = {"description": value.description, **_type(value)}
    root["properties"]["config"] = _config()
    root["properties"]["global"] = {
        "description": "Helm gives it to a chart below another.",
        "type": "object",
    }
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart job-exporter"}
    return {**head, **root, "allOf": RULES}


def _type(value: Value) -> Schema:
    if value.path in SPECIAL:
        return SPECIAL[value.path]
    if isinstance(value.default, bool):
        return {"type": "boolean"}
    if isinstance(value.default, dict):
        return TEXTS
    return OBJECTS if isinstance(value.default, list) else {"type": "string"}


def _config() -> Schema:
    properties: Schema = {}
    for info in catalog():
        if info.key in SET_BY_CHART or info.secret:
            continue
        group, _, name = info.key.partition(".")
        scalar: Schema = {"type": ["string", "number", "boolean"]}
        kind: Schema = {"anyOf": [scalar, {"type": "array", "items": scalar}]} if info.repeatable else scalar
        if info.key == "api.base_url":
            kind = {"type": "string", "pattern": "^https?://[^/]"}
        empty: Schema = {"type": "object", "additionalProperties": False, "properties": {}}
        properties.setdefault(group, empty)["properties"][name] = {"description": info.description, **kind}
    properties["api"]["required"] = ["base_url"]
    return {
        "description": "The configuration file of the exporter, without what the chart sets itself.",
        "type": "object",
        "additionalProperties": False,
        "required": ["api"],
        "properties": properties,
    }


def table(documented: list[Value]) -> str:
    """Give the values as a Markdown table."""
    rows = ["| value | default | description |", "|---|---|---|"]
    for value in documented:
        default = json.dumps(value.default, ensure_ascii=False)
        cell = "" if value.default in ("", [], {}) else f"`{default}`"
        rows.append(f"| `{value.path}` | {cell} | {value.description} |")
    return "\n".join(rows)


def render() -> dict[Path, str]:
    """Give the files that follow from values.yaml, and their text."""
    documented = list(values((CHART / "values.yaml").read_text(encoding="utf-8")))
    readme = CHART / "README.md"
    text = re.sub(
        f"{BEGIN}.*{END}",
        lambda _: f"{BEGIN}\n{table(documented)}\n{END}",
        readme.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    rendered = json.dumps(schema(documented), indent=2, ensure_ascii=False) + "\n"
    return {readme: text, CHART / "values.schema.json": rendered}


if __name__ == "__main__":
    for path, text in render().items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(CHART.parent)}\n")
