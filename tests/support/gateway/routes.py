"""The routes of the HTTP door as the application has them: what each path names and what each asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from ccn.gateway.http import auth
from ccn.gateway.http.conversations import routes

OWN = {"session_id"}  # what a user may name in a path; everything else there is for admins
CHARACTER = {"model_id"}  # characters are nobody's
OWN_TURN = {"session_id", "turn_id"}  # a turn is found in its conversation only
OWN_TURNS = {routes.open_turn_to_read, routes.open_turn_to_cancel}
READS: set[object] = {auth.open_to_read, auth.open_id_to_read}
ACTS: set[object] = {auth.open_to_speak, auth.open_to_end, auth.open_to_cancel}


@dataclass(frozen=True)
class Way:
    """One way into the application."""

    method: str
    path: str
    needs: frozenset[object]

    @property
    def named(self) -> set[str]:
        return set(re.findall(r"{(\w+)}", self.path))

    def to(self, conversation: object) -> str:
        return re.sub(r"{\w+}", str(conversation), self.path)


def ways(application: FastAPI) -> Iterator[Way]:
    for route in iter_route_contexts(application.routes):
        dependant = getattr(route, "dependant", None)
        needs = frozenset(_needs(dependant)) if dependant else frozenset()
        for method in sorted(route.methods or {"WEBSOCKET"}):
            yield Way(method, re.sub(r":\w+}", "}", str(route.path)), needs)


def _needs(dependant: Dependant) -> Iterator[object]:
    for each in dependant.dependencies:
        yield each.call
        yield from _needs(each)


def for_users(application: FastAPI) -> list[Way]:
    return [each for each in ways(application) if {auth.require_user, auth.require_admin} & each.needs]
