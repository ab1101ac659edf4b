"""Rules about what objects say of each other: whom they mean exists, and what they name is there."""

from __future__ import annotations

from collections.abc import Iterator

from ccn import settings
from scripts.manifests.objects import (
    Object,
    PodTemplate,
    describe_object,
    list_pod_labels,
    list_pods,
    of_kind,
    selects,
)

OPERATED_SECRETS = frozenset({"ccn-db-ca", "ccn-authority"})
"""Secrets that an operator makes: CloudNativePG and cert-manager."""
MOST_GATEWAYS = (3, 100)
_SPARE = 20
"""Connections for commands, for the operator of the database and for whoever looks."""


def check_selectors(objects: list[Object]) -> Iterator[str]:
    """Every selector means at least one kind of pod, or nothing at all on purpose."""
    pods = list_pod_labels(objects)
    for each in objects:
        for what, selector in _list_selectors(each):
            if selector and not any(selects(selector, labels) for labels in pods):
                yield f"{describe_object(each)}: no pod is meant by its {what} {selector}"


def check_ports(objects: list[Object]) -> Iterator[str]:
    """A port that is named, probed, served or let through is one of the pods that are meant."""
    pods = list_pods(objects)
    for service in of_kind(objects, "Service"):
        meant = [pod for pod in pods if selects(service["spec"]["selector"], pod.labels)]
        for port in service["spec"]["ports"]:
            if not all(port["targetPort"] in _list_ports(pod) for pod in meant):
                yield f"{describe_object(service)}: no port {port['targetPort']}"
    for pod in pods:
        for container in pod.containers:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                asked = container.get(probe, {})
                port = (asked.get("httpGet") or asked.get("tcpSocket") or {}).get("port")
                if port is not None and port not in _list_ports(pod):
                    yield f"{pod.owner}: {probe} asks port {port}"
    for policy in of_kind(objects, "NetworkPolicy"):
        yield from _check_policy_ports(policy, pods)


def check_references(objects: list[Object]) -> Iterator[str]:
    """What a pod mounts, reads or belongs to is here, or is made by an operator."""
    made = {(each["kind"], each["metadata"]["name"]) for each in objects}
    made |= {("Secret", each["spec"]["target"]["name"]) for each in of_kind(objects, "ExternalSecret")}
    made |= {("Secret", name) for name in OPERATED_SECRETS}
    for pod in list_pods(objects):
        for kind, name in _list_references(pod):
            if (kind, name) not in made:
                yield f"{pod.owner}: there is no {kind} {name}"
        volumes = {volume["name"] for volume in pod.spec.get("volumes", ())} | _list_claims(objects, pod)
        for container in pod.all_containers:
            for mount in container.get("volumeMounts", ()):
                if mount["name"] not in volumes:
                    yield f"{pod.owner}: there is no volume {mount['name']}"
    for each in of_kind(objects, "HorizontalPodAutoscaler"):
        target = each["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) not in made:
            yield f"{describe_object(each)} scales nothing"
    for each in of_kind(objects, "Ingress"):
        for path in each["spec"]["rules"][0]["http"]["paths"]:
            if ("Service", path["backend"]["service"]["name"]) not in made:
                yield f"{describe_object(each)} leads nowhere"


def check_availability(objects: list[Object]) -> Iterator[str]:
    """Voters are three and go one by one; gateways are as many as the design says."""
    budgets = [each["spec"] for each in of_kind(objects, "PodDisruptionBudget")]
    for each in of_kind(objects, "StatefulSet", "Deployment"):
        labels = each["spec"]["template"]["metadata"]["labels"]
        if labels.get("app.kubernetes.io/name") != "ccn":
            continue
        mine = [spec for spec in budgets if selects(spec["selector"], labels)]
        if [spec.get("maxUnavailable") for spec in mine] != [1]:
            yield f"{describe_object(each)}: more than one pod may be evicted at once"
        if each["kind"] == "StatefulSet" and each["spec"]["replicas"] != 3:
            yield f"{describe_object(each)} does not have three voters"
    for each in of_kind(objects, "HorizontalPodAutoscaler"):
        if (each["spec"]["minReplicas"], each["spec"]["maxReplicas"]) != MOST_GATEWAYS:
            yield f"{describe_object(each)} does not scale from {MOST_GATEWAYS[0]} to {MOST_GATEWAYS[1]}"


def check_connections(objects: list[Object]) -> Iterator[str]:
    """The database has a connection for everybody, also when there are as many gateways as there may be."""
    chosen, needed = settings.DatabaseSettings(), _SPARE
    most = {each["spec"]["scaleTargetRef"]["name"]: each["spec"]["maxReplicas"]
            for each in of_kind(objects, "HorizontalPodAutoscaler")}  # fmt: skip
    for each in of_kind(objects, "StatefulSet", "Deployment"):
        container = each["spec"]["template"]["spec"]["containers"][0]
        if "node" not in container.get("args", ()):
            continue
        set_here = {variable["name"]: variable.get("value") for variable in container["env"]}
        pool, search = (
            int(set_here.get(f"CCN_DATABASE_{name}") or default)
            for name, default in (
                ("POOL_SIZE", chosen.pool_size),
                ("SEARCH_POOL_SIZE", chosen.search_pool_size),
            )
        )
        writer = 2 if each["kind"] == "StatefulSet" else 0
        count = most.get(each["metadata"]["name"], each["spec"].get("replicas", 1))
        needed += count * (pool + search + writer)
    for each in of_kind(objects, "Cluster"):
        allowed = int(each["spec"]["postgresql"]["parameters"]["max_connections"])
        if allowed < needed:
            yield f"{describe_object(each)} has {allowed} connections, and {needed} may be wanted"


def check_network(objects: list[Object]) -> Iterator[str]:
    """In a namespace with pods everything is refused that no policy names, and *restricted* is enforced."""
    policies = list(of_kind(objects, "NetworkPolicy"))
    closed = {
        each["metadata"]["namespace"]
        for each in policies
        if each["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    }
    level = "pod-security.kubernetes.io/enforce"
    labels = {
        each["metadata"]["name"]: each["metadata"]["labels"] for each in of_kind(objects, "Namespace")
    }
    for namespace in {each["metadata"].get("namespace", "") for each in policies} | {"ccn"}:
        if namespace not in closed:
            yield f"namespace {namespace} lets through what no policy names"
        if labels.get(namespace, {}).get(level) != "restricted":
            yield f"namespace {namespace} does not enforce the standard restricted"


def _check_policy_ports(policy: Object, pods: list[PodTemplate]) -> Iterator[str]:
    spec = policy["spec"]
    meant = [pod for pod in pods if selects(spec["podSelector"], pod.labels)]
    for rule in spec.get("ingress", ()) if spec["podSelector"] else ():
        for port in rule.get("ports", ()):
            if meant and not any(port["port"] in _list_ports(pod) for pod in meant):
                yield f"{describe_object(policy)} lets through port {port['port']}, where nobody listens"
    for rule in spec.get("egress", ()):
        for target in rule.get("to", ()):
            chosen = target.get("podSelector")
            called = [pod for pod in pods if chosen and selects(chosen, pod.labels)]
            for port in rule.get("ports", ()):
                if called and not any(port["port"] in _list_ports(pod) for pod in called):
                    yield f"{describe_object(policy)} calls port {port['port']}, where nobody listens"


def _list_ports(pod: PodTemplate) -> set[object]:
    ports = [port for container in pod.containers for port in container.get("ports", ())]
    return {port["name"] for port in ports} | {port["containerPort"] for port in ports}


def _list_selectors(each: Object) -> Iterator[tuple[str, Object]]:
    spec = each.get("spec", {})
    match each["kind"]:
        case "Service" | "PodDisruptionBudget" | "Deployment" | "StatefulSet" | "PodMonitor":
            yield "selector", spec["selector"]
        case "NetworkPolicy":
            yield "podSelector", spec["podSelector"]
            for rule in (*spec.get("ingress", ()), *spec.get("egress", ())):
                for peer in (*rule.get("from", ()), *rule.get("to", ())):
                    yield "peer", peer.get("podSelector", {})
    if each["kind"] in {"Deployment", "StatefulSet"}:
        for spread in spec["template"]["spec"].get("topologySpreadConstraints", ()):
            yield "spread", spread["labelSelector"]


def _list_references(pod: PodTemplate) -> Iterator[tuple[str, str]]:
    if "serviceAccountName" in pod.spec:
        yield "ServiceAccount", pod.spec["serviceAccountName"]
    for container in pod.all_containers:
        for source in container.get("envFrom", ()):
            yield "ConfigMap", source["configMapRef"]["name"]
    for volume in pod.spec.get("volumes", ()):
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]


def _list_claims(objects: list[Object], pod: PodTemplate) -> set[str]:
    owner = next(each for each in objects if describe_object(each) == pod.owner)
    return {claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", ())}
