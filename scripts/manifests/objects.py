"""The objects that an overlay stands for, as `kubectl kustomize` builds them, and the pods that they make.

Separate from the rules, which take objects and know nothing of files. The kubectl is the one of the
project's environment, so that everybody's builds the same.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parents[2] / "deploy" / "k8s"
OVERLAYS = ("local", "production")
_TIMEOUT_S = 60

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """The pods that one object makes."""

    owner: str
    namespace: str
    labels: Mapping[str, str]
    spec: Object
    lasts: bool
    """Whether these pods run until they are replaced, as those of a Job do not."""

    @property
    def containers(self) -> list[Object]:
        """The containers that run together, without those that run before them."""
        return list(self.spec["containers"])

    @property
    def all_containers(self) -> list[Object]:
        """Every container, in the order in which they start."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]


def build_overlay(overlay: str) -> list[Object]:
    """Build what `kubectl apply -k` would send."""
    kubectl = Path(sys.executable).with_name("kubectl")
    built = subprocess.run(
        [kubectl, "kustomize", HERE / "overlays" / overlay],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if built.returncode:
        raise SystemExit(f"{overlay} cannot be built: {built.stderr.strip()}")
    return [each for each in yaml.safe_load_all(built.stdout) if each]


def list_pods(objects: Iterable[Object]) -> list[PodTemplate]:
    """List the templates of all pods, without those that an operator makes."""
    return [
        PodTemplate(
            describe_object(each),
            each["metadata"].get("namespace", ""),
            each["spec"]["template"].get("metadata", {}).get("labels", {}),
            each["spec"]["template"]["spec"],
            each["kind"] != "Job",
        )
        for each in objects
        if each["kind"] in {"Deployment", "StatefulSet", "Job"}
    ]


def list_pod_labels(objects: Iterable[Object]) -> list[Mapping[str, str]]:
    """List the labels of all pods, also of those that an operator makes."""
    objects = list(objects)
    operated = [
        {"cnpg.io/cluster": each["metadata"]["name"]}
        | each["spec"].get("inheritedMetadata", {}).get("labels", {})
        for each in objects
        if each["apiVersion"].startswith("postgresql.cnpg.io/") and each["kind"] == "Cluster"
    ]
    return [*(pod.labels for pod in list_pods(objects)), *operated]


def describe_object(each: Object) -> str:
    """Name an object for people."""
    return f"{each['kind']} {each['metadata']['name']}"


def of_kind(objects: Iterable[Object], *kinds: str) -> Iterator[Object]:
    """Yield the objects of these kinds."""
    return (each for each in objects if each["kind"] in kinds)


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a selector, with or without expressions, means pods with these labels."""
    if not {"matchLabels", "matchExpressions"} & selector.keys():
        return all(labels.get(key) == value for key, value in selector.items())
    exact = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return exact and all(
        (labels.get(each["key"]) in each["values"]) == (each["operator"] == "In")
        for each in selector.get("matchExpressions", ())
    )
