"""Rules about words in manifests: settings and metrics that exist, and nothing that is secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from ccn import metrics
from ccn.settings import environment, explain
from scripts.manifests.objects import Object, describe_object, list_pods, of_kind

_VARIABLE = re.compile(r"\bCCN_[A-Z0-9_]+")
_METRIC = re.compile(r"\bccn_[a-z_]+")
_SECRET_NAME = re.compile(r"PASSWORD|TOKEN|SECRET|API_KEY|CREDENTIAL")
_SECRET_VALUE = re.compile(r"://[^/\s:@{]+:[^/\s@{]+@|PRIVATE KEY|sk-ant-|ccn_[A-Za-z0-9]{30,}")


def check_settings(objects: list[Object]) -> Iterator[str]:
    """Every variable of CCN is one that it reads: a misspelt one would stop a node, or do nothing."""
    known = _list_variables()
    for each in objects:
        for name in sorted(set(_VARIABLE.findall(json.dumps(each))) - known):
            yield f"{describe_object(each)}: there is no setting {name}"


def check_secrets(objects: list[Object]) -> Iterator[str]:
    """No object holds a secret: pods get them as files, from wherever the site keeps them."""
    secret = {explain.variable_name(*place) for place in explain.list_fields() if explain.is_secret(*place)}
    for each in objects:
        if each["kind"] == "Secret":
            yield f"{describe_object(each)} is a secret in a file"
        for name, value in _list_values(each):
            if name in secret or (_SECRET_NAME.search(name) and not name.endswith("_FILE")):
                yield f"{describe_object(each)}: {name} is set to a value; name a file"
            elif found := _SECRET_VALUE.search(value):
                yield f"{describe_object(each)}: {name} holds a secret ({found[0][:6]}…)"


def check_metrics(objects: list[Object]) -> Iterator[str]:
    """Rules call somebody for metrics that exist."""
    known = set(metrics.series.registry._names_to_collectors)  # noqa: SLF001 - it has no list
    for each in of_kind(objects, "PrometheusRule"):
        for group in each["spec"]["groups"]:
            for rule in group["rules"]:
                for name in _METRIC.findall(rule["expr"]):
                    if name not in known:
                        yield f"{describe_object(each)}: {rule['alert']}: nobody counts {name}"


def _list_variables() -> set[str]:
    places = list(explain.list_fields())
    files = {explain.file_variable_name(*place) for place in places if explain.is_secret(*place)}
    return {explain.variable_name(*place) for place in places} | files | {environment.FILE_VARIABLE}


def _list_values(each: Object) -> Iterator[tuple[str, str]]:
    """Yield what an object sets, by name: entries of a ConfigMap, and variables of containers."""
    if each["kind"] == "ConfigMap":
        yield from each.get("data", {}).items()
    for pod in list_pods([each]):
        for container in pod.all_containers:
            yield from (
                (variable["name"], str(variable["value"]))
                for variable in container.get("env", ())
                if "value" in variable
            )
