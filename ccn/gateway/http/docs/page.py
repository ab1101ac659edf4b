"""`/`: the page for people, and for programs a pointer to what answers here.

The page is a few files beside this module, without a build step: read once, served from memory, each under
an address that holds a digest of all of them. So they are cached for ever, and never of two versions at
once. The content policy lets the page run its own scripts and call its own cluster, and nothing else.
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
"""Where the HTTP doors of the cluster are, as far as this node knows now."""

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
KINDS: Mapping[str, str] = {
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
    """The files of the page, and the digest that stands in their addresses."""

    version: str
    files: Mapping[str, bytes]

    @property
    def index(self) -> bytes:
        """The page itself, which names the others under their version."""
        return self.files["index.html"].replace(b"static/", f"static/{self.version}/".encode())


@cache
def load_assets() -> Assets:
    """Read them; the program does not change while it runs."""
    folder = resources.files("ccn.gateway.http") / "static"
    files = {each.name: each.read_bytes() for each in sorted(folder.iterdir(), key=lambda each: each.name)}
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return Assets(digest.hexdigest()[:16], files)


def make_router(node: str, doors: HttpAddresses) -> APIRouter:
    """The page, its files, and the pointer."""
    router = problems.new_router(tags=["system"])
    index = CachedBody(load_assets().index, KINDS["html"])
    files = {
        name: CachedBody(body, KINDS[name.rpartition(".")[2]]) for name, body in load_assets().files.items()
    }

    @router.get(
        "/",
        response_model=schemas.FrontAnswer,
        responses={200: {"content": {"text/html": {}}}, 304: {"description": "The page is known already."}},
    )
    async def get_front(
        accept: Annotated[str, Header()] = "", if_none_match: Annotated[str, Header()] = ""
    ) -> Response:
        """A page to talk and watch, for a browser; what answers here, for a program."""
        if "text/html" not in accept:
            here = schemas.FrontAnswer(notice=NOTICE, node=node, version=ccn.__version__, links=LINKS)
            return Response(
                here.model_dump_json(), media_type="application/json", headers={"Vary": "Accept"}
            )
        headers = {"Vary": "Accept", "Content-Security-Policy": build_policy(doors())}
        return index.make_response(if_none_match, headers=headers)

    @router.get("/static/{version}/{name}", include_in_schema=False)
    async def get_file(
        version: Annotated[str, Path(max_length=64)],
        name: Annotated[str, Path(max_length=64)],
        if_none_match: Annotated[str, Header()] = "",
    ) -> Response:
        if name not in files or name == "index.html":
            raise errors.NotFound("the page has no such file")
        # During an upgrade the page may come from another node than its files; these must not stay then.
        how_long = _FOR_EVER if version == load_assets().version else cached_bodies.ASK_AGAIN
        return files[name].make_response(if_none_match, how_long)

    return router


def build_policy(doors: Iterable[str]) -> str:
    """What the page may load and call: this node, and the doors of the others for when this one is gone."""
    origins = sorted(_parse_origins(doors))
    sockets = [f"ws{origin.removeprefix('http')}" for origin in origins]  # as sources they are others
    return _POLICY.format(" ".join(["'self'", *origins, *sockets]))


class AllowedOrigins(Collection[str]):
    """Pages that may call this door: those that an operator named, and those of the cluster's own doors."""

    def __init__(self, named: Iterable[str], doors: HttpAddresses) -> None:
        self._named, self._doors = frozenset(named), doors

    def __contains__(self, origin: object) -> bool:
        return origin in self._named or origin in _parse_origins(self._doors())

    def __iter__(self) -> Iterator[str]:
        return iter(self._named | _parse_origins(self._doors()))

    def __len__(self) -> int:
        return len(self._named | _parse_origins(self._doors()))


def _parse_origins(doors: Iterable[str]) -> frozenset[str]:
    """Scheme, host and port of each address; whatever is none has no place in a header."""
    return frozenset(found[1] for each in doors if (found := _ORIGIN.fullmatch(each)))
