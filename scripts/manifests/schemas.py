"""The schemas of three versions of Kubernetes. Objects of operators have none here, and are named below.

The package kubernetes-validate carries the schemas. It would read all definitions of a version anew for
each object, so they are read here, once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import kubernetes_validate.utils as carried  # type: ignore[import-untyped]
from jsonschema.validators import Draft202012Validator  # type: ignore[import-untyped]
from referencing import Registry, Resource

from scripts.manifests.objects import Object, describe_object

VERSIONS = ("1.35", "1.36", "1.37")
OPERATED = (
    "cert-manager.io/v1",
    "external-secrets.io/v1",
    "monitoring.coreos.com/v1",
    "postgresql.cnpg.io/v1",
)
"""What operators bring along; only the house rules look at these objects."""


def validate(objects: list[Object], version: str) -> Iterator[str]:
    """Say what the API of this version would refuse: unknown kinds and fields, wrong types, gaps."""
    for each in objects:
        if each["apiVersion"] in OPERATED:
            continue
        try:
            validator = _make_validator(version, each["kind"], each["apiVersion"])
        except FileNotFoundError:
            yield f"{describe_object(each)}: {each['apiVersion']} has no such kind in Kubernetes {version}"
            continue
        for error in validator.iter_errors(each):
            place = "/".join(map(str, error.absolute_path))
            yield f"{describe_object(each)}: {place}: {error.message[:200]} (Kubernetes {version})"


@cache
def _make_validator(version: str, kind: str, api_version: str) -> Any:
    group, _, number = api_version.rpartition("/")
    file = "-".join(filter(None, (kind.lower(), group.split(".")[0], number)))
    schema = carried.schema_contents(f"{_folder(version)}/{file}.json", version)
    registry = Resource.from_contents(schema) @ _read_definitions(version)
    return Draft202012Validator(schema, registry=registry)


@cache
def _read_definitions(version: str) -> Registry[Any]:
    definitions = carried.schema_contents(f"{_folder(version)}/_definitions.json", version)
    return (Resource.from_contents(definitions) @ Registry[Any]()).crawl()


def _folder(version: str) -> str:
    return f"kubernetes-json-schema/v{version}.0-local-strict"
