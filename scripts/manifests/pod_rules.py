"""Rules that every pod keeps: what it may do, what it may take, how it is looked after."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ccn import settings
from scripts.manifests.objects import Object, PodTemplate, list_pods

PRIVILEGED = "ccn-volumes"
"""The namespace whose Job makes folders on a machine as root, and which holds nothing else."""
_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
_REPOSITORY = re.compile(r"^(?P<name>[^@]+?)(:(?P<tag>[^:/@]+))?(@sha256:[0-9a-f]{64})?$")


def check_probes(objects: list[Object]) -> Iterator[str]:
    """Whoever serves is looked after, and only its own process decides whether it is started again."""
    for pod in list_pods(objects):
        for container in pod.containers if pod.lasts else ():
            for probe in _PROBES:
                if probe not in container:
                    yield f"{_place(pod, container)} has no {probe}"
            if "node" in container.get("args", ()):
                command = ["ccn", "node", "health"]
                wanted = dict.fromkeys(_PROBES[:2], command) | {"readinessProbe": [*command, "--ready"]}
                for probe, words in wanted.items():
                    if container.get(probe, {}).get("exec", {}).get("command") != words:
                        yield f"{_place(pod, container)}: {probe} does not ask `{' '.join(words)}`"


def check_resources(objects: list[Object]) -> Iterator[str]:
    """Each container says what it needs and what it may have."""
    for pod in list_pods(objects):
        for container in pod.all_containers:
            resources = container.get("resources", {})
            for part in ("requests", "limits"):
                for what in ("cpu", "memory"):
                    if not resources.get(part, {}).get(what):
                        yield f"{_place(pod, container)} has no {part} of {what}"


def check_security(objects: list[Object]) -> Iterator[str]:
    """Pods are what the standard *restricted* allows, and their root file systems cannot be written to."""
    for pod in list_pods(objects):
        context = pod.spec.get("securityContext", {})
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{pod.owner} has no seccomp profile"
        root = pod.namespace == PRIVILEGED
        if not root and (context.get("runAsNonRoot") is not True or not context.get("runAsUser")):
            yield f"{pod.owner} may run as root"
        for container in pod.all_containers:
            own = container.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield f"{_place(pod, container)} may gain privileges"
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{_place(pod, container)} can write to its root file system"
            capabilities = own.get("capabilities", {})
            if capabilities.get("drop") != ["ALL"] or (capabilities.get("add") and not root):
                yield f"{_place(pod, container)} keeps capabilities"
        for volume in pod.spec.get("volumes", ()):
            if "hostPath" in volume and not root:
                yield f"{pod.owner} sees a folder of its machine"
        if pod.spec.get("hostNetwork") or pod.spec.get("hostPID") or pod.spec.get("hostIPC"):
            yield f"{pod.owner} shares a namespace with its machine"


def check_tokens(objects: list[Object]) -> Iterator[str]:
    """No pod can speak to the API, and none is told of services that it did not ask for."""
    for pod in list_pods(objects):
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.owner} gets a token of the API"
        if pod.spec.get("enableServiceLinks") is not False:
            yield f"{pod.owner} gets variables of every service"


def check_images(objects: list[Object]) -> Iterator[str]:
    """An image is named so that tomorrow it is the same."""
    for owner, image in _list_images(objects):
        found = _REPOSITORY.match(image)
        if found is None or (not found["tag"] and "@sha256:" not in image):
            yield f"{owner}: {image} has no tag"
        elif found["tag"] == "latest":
            yield f"{owner}: {image} is another one tomorrow"


def check_own_image(objects: list[Object], version: str) -> Iterator[str]:
    """The image of CCN is that of this source."""
    own = {image for _, image in _list_images(objects) if image.split(":")[0].split("/")[-1] == "ccn"}
    if not own:
        yield "no pod runs CCN"
    yield from (f"{image} is not version {version}" for image in own if image.split(":")[-1] != version)


def check_patience(objects: list[Object]) -> Iterator[str]:
    """A node has the time to hand over what it has, and then to stop."""
    for pod in list_pods(objects):
        for container in pod.containers:
            words = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [])
            if "--wait" not in words:
                continue
            answer_s, empty_s = 30, float(words[words.index("--wait") + 1])
            needed_s = answer_s + empty_s + settings.NodeSettings().shutdown_timeout_s
            if pod.spec.get("terminationGracePeriodSeconds", 30) < needed_s:
                yield f"{pod.owner} may need {needed_s:g} s to stop"


def _list_images(objects: list[Object]) -> Iterator[tuple[str, str]]:
    for pod in list_pods(objects):
        yield from ((pod.owner, container["image"]) for container in pod.all_containers)
    for each in objects:
        if each["kind"] == "Cluster":
            yield each["metadata"]["name"], each["spec"]["imageName"]


def _place(pod: PodTemplate, container: Object) -> str:
    return f"{pod.owner}, container {container['name']}"
