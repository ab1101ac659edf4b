"""Libraries that bring telemetry of their own say nothing, whatever is installed or set around them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from websockets.asyncio.client import connect

from ccn import errors, settings
from ccn.claude import client
from ccn.claude.retries import RetryDelays
from ccn.claude.stand_in import server
from ccn.core.calls.call import Call, CallBlock, CallMessage
from ccn.core.message import Role
from tests.support import databases
from tests.support.gateway import http_door
from tests.support.node.node_world import found_world
from tests.support.replies import read_reply

pytestmark = pytest.mark.asyncio(loop_scope="module")

MESSAGE, TITLE, QUERY, PLATE, DEFECT = ("wombat", "quokka", "numbat", "potoroo", "bandicoot")
TURNED_ON = {
    "ANTHROPIC_OPEN_TELEMETRY": "true",
    "ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE": "content",
    "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental,http",
}


@dataclass(frozen=True)
class Installed:
    """What a process has in which somebody installed OpenTelemetry."""

    spans: InMemorySpanExporter
    logs: InMemoryLogRecordExporter
    metrics: InMemoryMetricReader

    def told(self) -> list[str]:
        """All that was told since the last time somebody asked."""
        told = [each.to_json() for each in self.spans.get_finished_spans()]
        told += [each.log_record.body for each in self.logs.get_finished_logs()]
        measured = self.metrics.get_metrics_data()
        told += [measured.to_json()] if measured and measured.resource_metrics else []
        self.spans.clear()
        self.logs.clear()
        return told


@pytest.fixture(scope="module")
def installed() -> Iterator[Installed]:
    """Providers for everything, and variables that turn on what can be turned on by variables."""
    kept = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    here = Installed(InMemorySpanExporter(), kept, InMemoryMetricReader())
    spans, logs, measures = TracerProvider(), LoggerProvider(), MeterProvider([here.metrics])
    spans.add_span_processor(SimpleSpanProcessor(here.spans))
    logs.add_log_record_processor(SimpleLogRecordProcessor(here.logs))
    trace.set_tracer_provider(spans)
    _logs.set_logger_provider(logs)
    metrics.set_meter_provider(measures)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in TURNED_ON.items():
            patch.setenv(name, value)
        yield here
    for each in (spans, logs, measures):
        each.shutdown()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(database_server: str, installed: Installed) -> AsyncIterator[http_door.Door]:
    """A node that talks in such a process."""
    async with databases.cloned(database_server, "door") as database:
        world = await found_world(database, f"# Ada\nKeeps her word about the {PLATE}.")
        async with world.node("node-1") as node, http_door.door(node) as opened:
            yield opened


async def test_an_application_that_turns_nothing_off_is_heard(installed: Installed) -> None:
    made = FastAPI(telemetry={"auto_configure": False, "metrics": False})  # those would count on
    transport = httpx.ASGITransport(made)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as asking:
        await asking.get("/nowhere", params={"q": QUERY})
    assert any(QUERY in each for each in installed.told())


async def test_a_node_tells_nobody_of_words_titles_queries_and_errors(
    installed: Installed, home: http_door.Door
) -> None:
    async def defect() -> None:
        raise ZeroDivisionError(DEFECT)

    home.application.get("/test/defect")(defect)
    key = await http_door.key(home.node)
    async with home.client(key) as asking:
        begun = await asking.post("/api/v1/conversation/start", json={"character": "ada", "title": TITLE})
        session = begun.json()["session_id"]
        said = await asking.post(f"/api/v1/conversation/{session}/messages", json={"content": MESSAGE})
        assert (begun.status_code, said.status_code) == (201, 200)
        assert (await asking.get("/api/v1/search", params={"q": QUERY})).status_code == 200
        wrong = await asking.post("/api/v1/conversation/start", json={"character": [MESSAGE]})
        assert wrong.status_code == 422
        assert (await asking.get("/test/defect")).status_code == 500
    path = f"{home.ws}/ws/conversation/{session}"
    async with connect(path, additional_headers={"Authorization": f"Bearer {key}"}) as socket:
        await socket.send(f'{{"type":"message","content":"{MESSAGE}"}}')
        await socket.recv()
    home.application.router.routes.pop()
    assert installed.told() == []


async def test_the_start_of_the_application_looks_for_no_exporter(
    home: http_door.Door, caplog: pytest.LogCaptureFixture
) -> None:
    asked = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> dict[str, str]:
        return next(asked)

    async def send(_: object) -> None:
        pass

    await home.application({"type": "lifespan", "state": {}}, receive, send)
    assert [each.message for each in caplog.records if "telemetry" in each.message] == []


async def test_calls_to_the_model_tell_nobody(installed: Installed) -> None:
    asked = Call(
        system=(CallBlock(f"# Ada\nKeeps her word about the {PLATE}.", mark=True),),
        messages=(CallMessage(Role.USER, MESSAGE),),
        model="claude-sonnet-5-5",
        max_tokens=100,
    )
    async with server.run_stand_in() as api:
        chosen = settings.ClaudeSettings.model_validate({"base_url": api.url, "api_key": "any"})
        async with client.open_client(chosen, RetryDelays((), (), ())) as model:
            assert await model.count_tokens(asked) > 0
            await read_reply(model.stream(asked))
    refused = settings.ClaudeSettings.model_validate({"base_url": "http://127.0.0.1:9", "api_key": "any"})
    async with client.open_client(refused, RetryDelays((), (), ())) as model:
        with pytest.raises(errors.ModelUnavailable):
            await model.count_tokens(asked)
    assert installed.told() == []
