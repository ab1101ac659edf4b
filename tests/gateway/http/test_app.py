"""The HTTP door: what a node says about itself, and how it says no."""

from __future__ import annotations

import asyncio
import html.parser
import json
import os
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import Body, FastAPI
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

import ccn
from ccn import errors
from ccn.gateway import readiness
from ccn.gateway.http import app, problems


class Database:
    """A neighbour that answers, refuses or hangs."""

    def __init__(self) -> None:
        self.refuses: errors.CCNError | None = None
        self.hangs = False

    async def probe(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.refuses:
            raise self.refuses


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
async def ready(database: Database) -> AsyncIterator[readiness.Readiness]:
    answer = readiness.Readiness({"database": database.probe}, interval_s=0.01, deadline_s=0.05)
    watching = asyncio.create_task(answer.watch_probes())
    await settled(answer, wanted=True)
    yield answer
    answer.stop()
    await watching


async def settled(answer: readiness.Readiness, *, wanted: bool) -> None:
    async with asyncio.timeout(60):
        while answer.ready is not wanted:
            await answer.wait_for_change(answer.checks)


@pytest.fixture
def application(ready: readiness.Readiness) -> FastAPI:
    made = app.create_app("node-7", ready)

    @made.post("/raise/{name}")
    async def raise_(name: str, number: int = Body(embed=True)) -> None:
        kind = getattr(errors, name, ZeroDivisionError)
        raise kind(f"hunter2 {number}")

    return made


@pytest.fixture
async def client(application: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as opened:
        yield opened


async def test_health_tells_the_node_and_its_version_whatever_its_neighbours_do(
    client: httpx.AsyncClient, database: Database, ready: readiness.Readiness
) -> None:
    database.refuses = errors.DatabaseUnavailable("gone")
    await settled(ready, wanted=False)
    answer = await client.get("/health")
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "alive", "node": "node-7", "version": ccn.__version__},
    )


async def test_a_node_serves_without_what_it_only_tells_of(client: httpx.AsyncClient) -> None:
    async def nobody() -> None:
        raise errors.Unavailable("nobody leads yet")

    async def fine() -> None:
        return

    answer = readiness.Readiness({"database": fine}, {"leadership": nobody}, interval_s=0.01)
    watching = asyncio.create_task(answer.watch_probes())
    await settled(answer, wanted=True)
    assert [(each.name, each.passes, each.needed) for each in answer.checks] == [
        ("database", True, True),
        ("leadership", False, False),
    ]
    answer.stop()
    assert not answer.ready
    await watching


async def test_ready_names_each_check_and_the_reason_against_it(
    client: httpx.AsyncClient, database: Database, ready: readiness.Readiness
) -> None:
    answer = await client.get("/ready")
    assert (answer.status_code, answer.json()["checks"]) == (
        200,
        [{"name": "database", "passes": True, "needed": True, "reason": ""}],
    )
    database.refuses = errors.DatabaseUnavailable("the server went home")
    await settled(ready, wanted=False)
    answer = await client.get("/ready")
    assert (answer.status_code, answer.json()) == (
        503,
        {
            "ready": False,
            "node": "node-7",
            "pid": os.getpid(),
            "checks": [
                {"name": "database", "passes": False, "needed": True, "reason": "the server went home"}
            ],
        },
    )


async def test_a_neighbour_that_does_not_answer_is_a_reason_within_its_deadline(
    client: httpx.AsyncClient, database: Database, ready: readiness.Readiness
) -> None:
    database.hangs = True
    await settled(ready, wanted=False)
    assert (await client.get("/ready")).json()["checks"][0]["reason"] == "no answer within 0.05 s"
    database.hangs = False
    await settled(ready, wanted=True)


async def test_a_node_that_stops_is_not_ready_and_stays_so(
    client: httpx.AsyncClient, ready: readiness.Readiness
) -> None:
    ready.stop()
    await asyncio.sleep(0.05)
    answer = await client.get("/ready")
    assert (answer.status_code, answer.json()["checks"][0]["reason"]) == (503, "stopping")


async def test_metrics_count_requests_under_their_template_and_not_under_what_was_typed(
    client: httpx.AsyncClient,
) -> None:
    await client.post("/raise/NotFound", json={"number": 1})
    await client.get("/health")
    await client.get("/wp-admin/setup.php")
    await client.request("BREW", "/health")
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    page = answer.text
    assert 'ccn_http_requests_total{method="POST",route="/raise/{name}",status="404"}' in page
    assert 'ccn_http_requests_total{method="GET",route="/health",status="200"}' in page
    assert 'ccn_http_requests_total{method="GET",route="unmatched",status="404"}' in page
    assert 'method="other"' in page
    assert 'ccn_http_request_duration_seconds_bucket{le="0.2",method="GET",route="/health"}' in page
    assert 'ccn_ready{check="database"}' in page
    assert "wp-admin" not in page
    assert "BREW" not in page


async def test_a_scraper_that_asks_for_openmetrics_gets_it(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


async def test_the_pointer_says_that_this_is_software(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.headers["content-type"] == "application/json"
    assert "AI system" in answer.json()["notice"]
    for path in answer.json()["links"].values():
        assert (await client.get(path)).status_code == 200


class Loads(html.parser.HTMLParser):
    """Everything a page makes a browser fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "link", "img", "iframe"}:
            self.found.append(tag)
        self.found += [name for name, _ in attrs if name in {"src", "onload", "onclick"}]


async def test_the_reference_loads_nothing_from_anywhere(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs", headers={"Accept": "text/html"})
    seen = Loads()
    seen.feed(page.text)
    assert seen.found == []
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_the_reference_shows_every_operation_and_model(client: httpx.AsyncClient) -> None:
    document: dict[str, Any] = (await client.get("/openapi.json")).json()
    page = (await client.get("/docs")).text
    assert {"/health", "/ready", "/metrics", "/"} <= set(document["paths"])
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path, methods in document["paths"].items():
        # What speaks the Anthropic API answers with that API's errors.
        kind = "application/json" if path.startswith("/v1/") else "application/problem+json"
        for operation in methods.values():
            assert list(operation["responses"]["404"]["content"]) == [kind]
            assert "default" not in operation["responses"], (
                "whatever comes would be a status that is told of"
            )
        assert f" {path}</code>" in page
    for model in document["components"]["schemas"]:
        assert f">{model}</h3>" in page
        assert not model.startswith("ccn__"), "a name that two models share tells nobody anything"
    for code in ("turn_running", "budget_spent", "idempotency_conflict"):
        assert f" {code}</code>" in page


def test_every_body_has_an_example_that_its_model_accepts() -> None:
    made = app.create_app("node-7", readiness.Readiness({}))
    paths, tried = made.openapi()["paths"], 0
    for route in (each for each in made.routes if isinstance(each, APIRoute) and each.include_in_schema):
        for method in route.methods or ():
            operation = paths[route.path_format][method.lower()]
            if route.response_model is not None and route.response_model is not type(None):
                [told] = [operation["responses"][n] for n in ("200", "201") if n in operation["responses"]]
                example = told["content"]["application/json"].get("example", {})
                TypeAdapter(route.response_model).validate_json(json.dumps(example), strict=True)
                tried += 1
            if route.body_field is not None and "requestBody" in operation:
                for body in operation["requestBody"]["content"].values():
                    kind: Any = route.body_field.field_info.annotation
                    TypeAdapter(kind).validate_python(body["example"])
                    tried += 1
    assert tried > 25


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nowhere", None, 404, "not_found"),
        ("DELETE", "/health", None, 405, "method_not_allowed"),
        ("POST", "/raise/x", {"number": "hunter2"}, 422, "input_invalid"),
        ("POST", "/raise/InputInvalid", {"number": 1}, 422, "input_invalid"),
        ("POST", "/raise/NotFound", {"number": 1}, 404, "not_found"),
        ("POST", "/raise/TurnRunning", {"number": 1}, 409, "turn_running"),
        ("POST", "/raise/IdempotencyConflict", {"number": 1}, 409, "idempotency_conflict"),
        ("POST", "/raise/Overloaded", {"number": 1}, 503, "overloaded"),
        ("POST", "/raise/StoreBroken", {"number": 1}, 500, "internal"),
        ("POST", "/raise/unexpected", {"number": 1}, 500, "internal"),
    ],
)
async def test_a_failure_is_a_problem_with_a_stable_code(
    client: httpx.AsyncClient, method: str, path: str, body: object, status: int, code: str
) -> None:
    answer = await client.request(method, path, json=body)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem["type"] == f"urn:ccn:problem:{code}"


async def test_a_problem_gives_the_headers_a_client_needs(client: httpx.AsyncClient) -> None:
    assert (await client.delete("/health")).headers["allow"] == "GET, HEAD"
    put = await client.put("/api/v1/conversation/0197b2a4-5c1e-7d3a-9f00-2b6c1d4e8f01/messages")
    assert (put.status_code, put.headers["allow"]) == (405, "GET, HEAD, POST")
    unfit = await client.get("/api/v1/conversation/start")
    assert (unfit.status_code, unfit.headers["allow"]) == (405, "POST")


async def test_head_is_answered_wherever_get_is(client: httpx.AsyncClient) -> None:
    for path in ("/", "/health", "/ready", "/metrics", "/docs", "/openapi.json"):
        got, head = await client.get(path), await client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        assert head.headers["content-type"] == got.headers["content-type"]
    assert (await client.head("/token")).status_code == 405
    assert (await client.head("/nowhere")).status_code == 404


async def test_generated_clients_get_names_to_call_and_groups_to_find_them_in(
    client: httpx.AsyncClient,
) -> None:
    document = (await client.get("/openapi.json")).json()
    ours = [methods for path, methods in document["paths"].items() if not path.startswith("/raise")]
    operations = [each for methods in ours for each in methods.values()]
    names = [each["operationId"] for each in operations]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z]+(_[a-z]+){0,3}", name) for name in names)
    assert {"say", "start_conversation", "create_message"} <= set(names)
    known = {each["name"]: each["description"] for each in document["tags"]}
    assert {tag for each in operations for tag in each["tags"]} == set(known)
    assert "change the cluster" in known["operating"]
    assert document["servers"][0]["url"] == "/"


async def test_a_stream_is_described_as_the_text_that_it_is(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    streams = [
        answer["content"]["text/event-stream"]
        for methods in paths.values()
        for operation in methods.values()
        for answer in operation["responses"].values()
        if "text/event-stream" in answer.get("content", {})
    ]
    assert len(streams) == 3
    assert not any({"type", "properties"} & set(each["schema"]) for each in streams)
    assert all(isinstance(each.get("example", ""), str) for each in streams)
    assert (await client.post("/raise/Overloaded", json={"number": 1})).headers["retry-after"] == "1"


async def test_a_problem_names_the_field_and_repeats_neither_input_nor_defect(
    client: httpx.AsyncClient,
) -> None:
    invalid = await client.post("/raise/x", json={"number": "hunter2"})
    assert invalid.json()["faults"][0]["where"] == "body.number"
    assert "hunter2" not in invalid.text
    for kind in ("unexpected", "StoreBroken"):
        assert "hunter2" not in (await client.post(f"/raise/{kind}", json={"number": 1})).text


def tree(root: type[errors.CCNError]) -> list[type[errors.CCNError]]:
    return [root, *(leaf for branch in root.__subclasses__() for leaf in tree(branch))]


@pytest.mark.parametrize("kind", tree(errors.CCNError))
def test_every_error_of_the_tree_has_a_status_and_a_code(kind: type[errors.CCNError]) -> None:
    assert 400 <= problems.status_of_error(kind) < 600
    assert problems.code_of_error(kind).isidentifier()
