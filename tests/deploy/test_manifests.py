"""The manifests are what three versions of Kubernetes take, and each house rule catches what breaks it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from scripts.manifests import objects as built
from scripts.manifests import schemas
from scripts.manifests.all_rules import RULES, list_complaints
from scripts.manifests.objects import OVERLAYS, Object

Mutant = Callable[[list[Object]], object]


@cache
def build(overlay: str) -> list[Object]:
    return built.build_overlay(overlay)


def find(objects: list[Object], kind: str, name: str) -> Any:
    return next(each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name))


def spec(objects: list[Object], kind: str, name: str) -> Any:
    return find(objects, kind, name)["spec"]


def pod(objects: list[Object], kind: str = "StatefulSet", name: str = "ccn") -> Any:
    return find(objects, kind, name)["spec"]["template"]["spec"]


def container(objects: list[Object], kind: str = "StatefulSet", name: str = "ccn") -> Any:
    return pod(objects, kind, name)["containers"][0]


def settings_of(objects: list[Object]) -> Any:
    return next(each["data"] for each in objects if each["metadata"]["name"].startswith("ccn-settings-"))


def without(kind: str, name: str) -> Mutant:
    return lambda objects: objects.remove(find(objects, kind, name))


@pytest.mark.parametrize("version", schemas.VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_is_what_this_version_of_kubernetes_takes(overlay: str, version: str) -> None:
    assert list(schemas.validate(build(overlay), version)) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_overlay_keeps_the_house_rules(overlay: str) -> None:
    assert list_complaints(build(overlay)) == []


@pytest.mark.parametrize("version", schemas.VERSIONS)
def test_what_the_api_would_refuse_is_said(version: str) -> None:
    objects = copy.deepcopy(build("local"))
    container(objects)["livenessprobe"] = {}
    find(objects, "Service", "ccn")["spec"]["ports"][0]["port"] = "http"
    find(objects, "Job", "site")["apiVersion"] = "batch/v1beta1"
    told = list(schemas.validate(objects, version))
    assert len(told) == 3
    assert any("livenessprobe" in each for each in told)
    assert any("Service ccn: spec/ports/0/port" in each for each in told)
    assert any("Job site: batch/v1beta1 has no such kind" in each for each in told)


MUTANTS: list[tuple[str, str, Mutant]] = [
    ("probes", "local", lambda o: container(o, "Deployment", "valkey").pop("readinessProbe")),
    ("probes", "local", lambda o: container(o)["readinessProbe"]["exec"]["command"].pop()),
    ("probes", "local", lambda o: container(o)["livenessProbe"]["exec"]["command"].append("--ready")),
    (
        "resources",
        "local",
        lambda o: container(o, "StatefulSet", "etcd")["resources"]["limits"].pop("memory"),
    ),
    ("resources", "local", lambda o: pod(o)["initContainers"][0]["resources"].pop("requests")),
    ("security", "local", lambda o: container(o)["securityContext"].pop("readOnlyRootFilesystem")),
    ("security", "local", lambda o: container(o)["securityContext"].pop("allowPrivilegeEscalation")),
    (
        "security",
        "local",
        lambda o: container(o)["securityContext"]["capabilities"].update(add=["NET_RAW"]),
    ),
    ("security", "local", lambda o: pod(o)["securityContext"].update(runAsNonRoot=False)),
    ("security", "local", lambda o: pod(o)["securityContext"].pop("seccompProfile")),
    ("security", "local", lambda o: pod(o).update(hostNetwork=True)),
    ("security", "local", lambda o: pod(o)["volumes"].append({"name": "x", "hostPath": {"path": "/"}})),
    ("tokens", "local", lambda o: pod(o).update(automountServiceAccountToken=True)),
    ("tokens", "production", lambda o: pod(o, "Deployment", "ccn-gateway").pop("enableServiceLinks")),
    ("images", "local", lambda o: container(o, "StatefulSet", "etcd").update(image="etcd")),
    (
        "images",
        "local",
        lambda o: container(o, "StatefulSet", "etcd").update(image="host:5000/etcd:latest"),
    ),
    ("images", "production", lambda o: spec(o, "Cluster", "ccn-db").update(imageName="postgres")),
    ("own image", "local", lambda o: container(o).update(image="ccn:0.0.1")),
    ("patience", "local", lambda o: pod(o).update(terminationGracePeriodSeconds=60)),
    ("selectors", "local", lambda o: spec(o, "Service", "ccn-peers")["selector"].update(x="y")),
    (
        "selectors",
        "production",
        lambda o: spec(o, "PodMonitor", "ccn")["selector"]["matchLabels"].update(x="y"),
    ),
    (
        "selectors",
        "production",
        lambda o: spec(o, "NetworkPolicy", "database")["podSelector"]["matchLabels"].update(
            {"cnpg.io/cluster": "other"}
        ),
    ),
    (
        "selectors",
        "local",
        lambda o: spec(o, "NetworkPolicy", "nodes")["ingress"][0]["from"][0]["podSelector"][
            "matchExpressions"
        ][0].update(values=["nod"]),
    ),
    ("ports", "local", lambda o: spec(o, "Service", "ccn")["ports"][0].update(targetPort="https")),
    (
        "ports",
        "local",
        lambda o: container(o, "StatefulSet", "etcd")["livenessProbe"]["httpGet"].update(port=1),
    ),
    (
        "ports",
        "local",
        lambda o: spec(o, "NetworkPolicy", "nodes")["ingress"][0]["ports"][0].update(port=7703),
    ),
    (
        "ports",
        "local",
        lambda o: spec(o, "NetworkPolicy", "to-database")["egress"][0]["ports"][0].update(port=5433),
    ),
    (
        "references",
        "local",
        lambda o: container(o)["envFrom"][0]["configMapRef"].update(name="ccn-settings"),
    ),
    ("references", "production", without("ExternalSecret", "ccn-gateway")),
    ("references", "local", without("PersistentVolumeClaim", "site")),
    (
        "references",
        "local",
        lambda o: container(o)["volumeMounts"].append({"name": "x", "mountPath": "/x"}),
    ),
    ("references", "production", without("Service", "ccn")),
    ("references", "local", without("ServiceAccount", "ccn")),
    ("availability", "local", lambda o: spec(o, "StatefulSet", "ccn").update(replicas=2)),
    ("availability", "local", without("PodDisruptionBudget", "ccn")),
    (
        "availability",
        "production",
        lambda o: spec(o, "HorizontalPodAutoscaler", "ccn-gateway").update(maxReplicas=10),
    ),
    ("network", "local", without("NetworkPolicy", "refuse-all")),
    (
        "connections",
        "production",
        lambda o: spec(o, "Cluster", "ccn-db")["postgresql"]["parameters"].update(max_connections="300"),
    ),
    (
        "connections",
        "production",
        lambda o: container(o, "Deployment", "ccn-gateway").update(env=[]),
    ),
    (
        "network",
        "local",
        lambda o: find(o, "Namespace", "ccn")["metadata"]["labels"].update(
            {"pod-security.kubernetes.io/enforce": "baseline"}
        ),
    ),
    ("settings", "local", lambda o: settings_of(o).update(CCN_HTPP_HOST="::")),
    ("settings", "local", lambda o: container(o)["env"].append({"name": "X", "value": "$(CCN_NODE_NAME)"})),
    (
        "secrets",
        "local",
        lambda o: o.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}),
    ),
    ("secrets", "local", lambda o: settings_of(o).update(CCN_CLAUDE_API_KEY="x")),
    ("secrets", "local", lambda o: container(o)["env"].append({"name": "PGPASSWORD", "value": "x"})),
    ("secrets", "local", lambda o: settings_of(o).update(CCN_ETCD_ENDPOINTS="https://a:b@etcd:2379")),
    (
        "metrics",
        "production",
        lambda o: spec(o, "PrometheusRule", "ccn")["groups"][0]["rules"][0].update(expr="ccn_blocks > 0"),
    ),
]


@pytest.mark.parametrize(
    ("rule", "overlay", "mutate"), MUTANTS, ids=[f"{rule}-{n}" for n, (rule, _, _) in enumerate(MUTANTS)]
)
def test_what_breaks_a_rule_is_caught_by_that_rule(rule: str, overlay: str, mutate: Mutant) -> None:
    objects = copy.deepcopy(build(overlay))
    mutate(objects)
    assert list(RULES[rule](objects)) != []


def test_each_rule_has_something_that_breaks_it() -> None:
    assert {rule for rule, _, _ in MUTANTS} == RULES.keys()


def test_the_authority_is_mounted_by_init_steps_alone_and_each_pod_sees_its_own_keys() -> None:
    objects = build("local")
    for each in built.list_pods(objects):
        if each.owner == "Job site":
            continue
        for serving in each.containers:
            for mount in serving.get("volumeMounts", ()):
                if mount["name"] == "site":
                    assert mount["subPath"].startswith(("secrets/", "public")), each.owner
    (identity,) = [
        mount for mount in container(objects)["volumeMounts"] if mount["mountPath"] == "/run/ccn/identity"
    ]
    assert identity["subPathExpr"] == "tls/$(CCN_NODE_ID)"
