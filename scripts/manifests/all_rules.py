"""All rules by name, for the check of the source and for the tests, which break each of them once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import ccn
from scripts.manifests import bundle_rules, content_rules, pod_rules
from scripts.manifests.objects import Object

RULES: Mapping[str, Callable[[list[Object]], Iterable[str]]] = {
    "probes": pod_rules.check_probes,
    "resources": pod_rules.check_resources,
    "security": pod_rules.check_security,
    "tokens": pod_rules.check_tokens,
    "images": pod_rules.check_images,
    "own image": partial(pod_rules.check_own_image, version=ccn.__version__),
    "patience": pod_rules.check_patience,
    "selectors": bundle_rules.check_selectors,
    "ports": bundle_rules.check_ports,
    "references": bundle_rules.check_references,
    "availability": bundle_rules.check_availability,
    "connections": bundle_rules.check_connections,
    "network": bundle_rules.check_network,
    "settings": content_rules.check_settings,
    "secrets": content_rules.check_secrets,
    "metrics": content_rules.check_metrics,
}


def list_complaints(objects: list[Object]) -> list[str]:
    """List what is wrong with the objects of one overlay."""
    return [f"{complaint} ({name})" for name, check in RULES.items() for complaint in check(objects)]
