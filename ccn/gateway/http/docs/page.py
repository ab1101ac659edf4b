"""Serves `/`: the page for people; for programs, a list of addresses they can ask.

The page is a few files in `static`, without a build step. They are read once and served from memory, each
under an address with a digest of all of them. So a browser can cache them for ever, and never mixes two
versions. The content policy lets the page run its own scripts and call its own cluster, and nothing else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Annotated

from fastapi import APIRouter, Header, Path
from fastapi.responses import Response

import ccn
from ccn import errors
from ccn.gateway.http import cached_bodies, problems, schemas
from ccn.gateway.http.cached_bodies import CachedBody

HttpAddresses = Callable[[], Iterable[str]]
"""Lists the addresses of the cluster's HTTP doors, as far as this node knows them now."""

NOTICE = (
    "This is software, an AI system. Whoever seems to speak here is a character played by a language model."
)
LINKS = {
    "health": "/health",
    "ready": "/ready",
    "metrics": "/metrics",
    "docs": "/docs",
    "openapi": "/openapi.json",
}
CONTENT_TYPES: Mapping[str, str] = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

_ORIGIN = re.compile(r"(https?://[a-z0-9.:\[\]_-]+)/?", re.ASCII | re.IGNORECASE)
_FOR_EVER = "public, max-age=31536000, immutable"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)


@dataclass(frozen=True, slots=True)
class Assets:
    """The files of the page, and the digest in their addresses."""

    version: str
    files: Mapping[str, bytes]

    @property
    def index(self) -> bytes:
        """The page itself, which refers to the other files by their version."""
        return self.files["index.html"].replace(b"static/", f"static/{self.version}/".encode())


@cache
def load_assets() -> Assets:
    """Read the files, once: they do not change while the program runs."""
    folder = resources.files("ccn.gateway.http") / "static"
    files = {
        file.name: file.read_bytes() for file in sorted(folder.iterdir(), key=lambda entry: entry.name)
    }
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return Assets(digest.hexdigest()[:16], files)


def make_router(node: str, list_addresses: HttpAddresses) -> APIRouter:
    """Make the routes of the page and its files."""
    router = problems.new_router(tags=["system"])
    index = CachedBody(load_assets().index, CONTENT_TYPES["html"])
    files = {
        name: CachedBody(body, CONTENT_TYPES[name.rpartition(".")[2]])
        for name, body in load_assets().files.items()
    }

    @router.get(
        "/",
        response_model=schemas.FrontAnswer,
        responses={
            200: {"content": {"text/html": {}}},
            304: {"description": "The page is the one that you have."},
        },
    )
    async def get_front(
        accept: Annotated[str, Header()] = "", if_none_match: Annotated[str, Header()] = ""
    ) -> Response:
        """Open the page to talk and to watch the cluster. A program gets a list of addresses instead."""
        if "text/html" not in accept:
            answer = schemas.FrontAnswer(notice=NOTICE, node=node, version=ccn.__version__, links=LINKS)
            return Response(
                answer.model_dump_json(), media_type="application/json", headers={"Vary": "Accept"}
            )
        headers = {"Vary": "Accept", "Content-Security-Policy": build_policy(list_addresses())}
        return index.make_response(if_none_match, headers=headers)

    @router.get("/static/{version}/{name}", include_in_schema=False)
    async def get_file(
        version: Annotated[str, Path(max_length=64)],
        name: Annotated[str, Path(max_length=64)],
        if_none_match: Annotated[str, Header()] = "",
    ) -> Response:
        if name not in files or name == "index.html":
            raise errors.NotFound("the page has no such file")
        # During an upgrade the page may be from another node, and so of another version, than this file:
        # then a browser must not cache the file under the address that the page has for it.
        caching = _FOR_EVER if version == load_assets().version else cached_bodies.ASK_AGAIN
        return files[name].make_response(if_none_match, caching)

    return router


def build_policy(addresses: Iterable[str]) -> str:
    """Build the policy of what the page may call: this node, and the others for when this one is gone."""
    origins = sorted(_parse_origins(addresses))
    sockets = [
        f"ws{origin.removeprefix('http')}" for origin in origins
    ]  # a policy lists sockets separately
    return _POLICY.format(" ".join(["'self'", *origins, *sockets]))


class AllowedOrigins(Collection[str]):
    """The origins of pages that may call this node: those of the settings, and the cluster's own."""

    def __init__(self, configured: Iterable[str], list_addresses: HttpAddresses) -> None:
        self._configured = frozenset(configured)
        self._list_addresses = list_addresses

    def __contains__(self, origin: object) -> bool:
        return origin in self._configured or origin in _parse_origins(self._list_addresses())

    def __iter__(self) -> Iterator[str]:
        return iter(self._configured | _parse_origins(self._list_addresses()))

    def __len__(self) -> int:
        return len(self._configured | _parse_origins(self._list_addresses()))


def _parse_origins(addresses: Iterable[str]) -> frozenset[str]:
    """Read the scheme, host and port of each address. Leave out anything else: this goes into headers."""
    return frozenset(match[1] for each in addresses if (match := _ORIGIN.fullmatch(each)))
