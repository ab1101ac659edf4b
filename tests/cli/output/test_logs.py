"""Logs: one line per event, and neither a secret nor content ever among them."""

from __future__ import annotations

import io
import json
import logging
import os
import time
import warnings
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog
from pydantic import SecretStr

from ccn import settings
from ccn.claude import client
from ccn.claude.stand_in import server
from ccn.cli.output import lines, logs
from ccn.core import message
from ccn.core.calls import call
from tests.support.replies import read_reply

SECRET = "hunter2-and-more"


@pytest.fixture(autouse=True)
def _untouched() -> Iterator[None]:
    root, served = logging.getLogger(), logging.getLogger("uvicorn.error")
    before = (root.handlers, root.level, served.level)
    served.setLevel(logging.NOTSET)  # a stand-in that runs beside these tests has silenced it
    yield
    root.handlers, root.level, level = before
    served.setLevel(level)
    structlog.reset_defaults()


def written(
    form: Literal["console", "json"] = "json", level: Literal["debug", "info", "warning"] = "info"
) -> io.StringIO:
    stream = io.StringIO()
    logs.configure_logging(settings.LogSettings(format=form, level=level), node="node-7", stream=stream)
    return stream


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize(
    "field",
    [
        "password", "db_password", "token", "access_token", "api_key", "key", "Authorization", "secret",
        "client_secret", "content", "message_content", "cookie", "apiKey", "prompt", "X-Api-Key",
    ],
)  # fmt: skip
def test_a_secret_field_never_reaches_the_output(field: str, form: Literal["console", "json"]) -> None:
    stream = written(form)
    structlog.get_logger().info("asked", **{field: SECRET})
    structlog.get_logger().info("asked", outer={"inner": [{field: SECRET}]})
    assert SECRET not in stream.getvalue()
    assert stream.getvalue().count("asked") == 2


@pytest.mark.parametrize(
    "text",
    [
        f"cannot reach postgresql://ann:{SECRET}@db:5432/ccn",
        f"cannot reach postgresql://ann:p@/{SECRET}@db:5432/ccn",
        f"header Bearer {SECRET}",
        f"dsn host=db password={SECRET} user=ann",
        f"GET /x?token={SECRET}&y=1",
        "used sk-ant-api03-hunter2-and-more",
    ],
)
def test_a_secret_inside_text_is_masked_wherever_it_stands(text: str) -> None:
    stream = written()
    structlog.get_logger().info("failed", reason=text)
    structlog.get_logger().info("failed", reason=ValueError(text))
    logging.getLogger("uvicorn.error").warning("failed: %s", text)
    try:
        raise ValueError(text)
    except ValueError:
        structlog.get_logger().exception("failed")
    assert SECRET not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 4


def test_counts_of_tokens_are_no_secret() -> None:
    stream = written()
    structlog.get_logger().info("answered", input_tokens=12, monkey="x")
    assert json.loads(stream.getvalue()) | {"input_tokens": 12, "monkey": "x"} == json.loads(
        stream.getvalue()
    )


def test_json_has_the_event_the_level_the_node_and_a_utc_time() -> None:
    stream = written()
    structlog.get_logger().warning("listening", http="http://127.0.0.1:1")
    line = json.loads(stream.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "listening",
        "level": "warning",
        "node": "node-7",
        "http": "http://127.0.0.1:1",
    }


def test_other_peoples_loggers_write_the_same_lines() -> None:
    stream = written()
    logging.getLogger("uvicorn.error").warning("%d slow\nrequests", 3)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["node"]) == ("3 slow\nrequests", "warning", "node-7")


@pytest.mark.parametrize("form", ["console", "json"])
def test_an_event_is_one_line_whatever_its_fields_hold(form: Literal["console", "json"]) -> None:
    stream = written(form)
    structlog.get_logger().info("odd", field="one\ntwo\r\x1b[31mred\u2028three")
    assert len(stream.getvalue().splitlines()) == 1 or form == "json"
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_long_text_is_cut_and_a_traceback_keeps_its_end() -> None:
    stream = written()
    try:
        raise ValueError("x" * 50_000 + "the end")
    except ValueError:
        structlog.get_logger().exception("failed", reason="the beginning" + "x" * 50_000)
    line = json.loads(stream.getvalue())
    assert line["exception"].endswith("the end")
    assert line["reason"].startswith("the beginning")
    assert len(stream.getvalue()) < 8_192


def test_no_text_takes_long_to_search_for_secrets() -> None:
    stream = written()
    began = time.thread_time()
    for text in ("x" * 1_000_000, "a://b:" * 100_000, "password=" * 100_000):
        structlog.get_logger().info("odd", text=text, inner=[text[:20_000]])
    assert time.thread_time() - began < 5
    assert stream.getvalue().count("odd") == 3


def test_lines_below_the_level_are_left_out() -> None:
    stream = written(level="warning")
    structlog.get_logger().info("quiet")
    logging.getLogger("anybody").info("quiet")
    assert stream.getvalue() == ""


def test_a_reader_that_went_away_disturbs_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with warnings.catch_warnings(), os.fdopen(writing, "w", buffering=1) as pipe:
        logs.configure_logging(settings.LogSettings(), stream=pipe)
        structlog.get_logger().info("unheard")
        logging.getLogger("anybody").warning("unheard")
        logging.getLogger().handlers = []
        with pytest.raises(BrokenPipeError):
            pipe.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), pipe.fileno())
    assert capfd.readouterr().err == ""


def test_a_line_for_people_is_short_and_a_brief_one_shorter() -> None:
    event = {
        "timestamp": "2026-11-20T12:55:01.123456Z",
        "level": "info",
        "event": "listening",
        "node": "node-1",
        "http": "http://127.0.0.1:7700",
        "why": "two words",
    }
    assert lines.render_event(event, colour=False, brief=True) == (
        '12:55:01 info    listening http=http://127.0.0.1:7700 why="two words"'
    )
    assert lines.render_event(event, colour=False) == (
        "2026-11-20T12:55:01.123456Z info    listening node=node-1"
        ' http=http://127.0.0.1:7700 why="two words"'
    )


def test_a_brief_line_shows_only_the_last_words_of_a_traceback() -> None:
    event = {"event": "failed", "level": "error", "exception": "Traceback …\n  File …\nValueError: no\n"}
    assert lines.render_event(event, colour=False, brief=True).endswith('failed error="ValueError: no"')


async def test_what_is_said_to_the_model_reaches_no_log_even_when_debugging() -> None:
    stream = io.StringIO()
    logs.configure_logging(settings.LogSettings(level="debug"), stream=stream)
    async with server.run_stand_in() as api:
        claude = settings.ClaudeSettings(base_url=api.url, api_key=SecretStr("sk-ant-quiet"))
        async with client.open_client(claude) as model:
            said = call.CallMessage(message.Role.USER, "the lighthouse keeper's secret")
            asked = call.Call(claude.model, (call.CallBlock("You are Ada."),), (said,), 50)
            assert (await read_reply(model.stream(asked))).text
    told = stream.getvalue()
    assert "lighthouse" not in told
    assert "sk-ant-quiet" not in told
    assert "HTTP Request" not in told
