"""How a process logs: one line for each event, to stderr, without secrets or content.

The root of each process configures it once; all other code only calls `structlog.get_logger()`. The
loggers of the standard library (uvicorn, asyncio, grpc) write the same lines.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from ccn import settings
from ccn.cli.output import lines

HIDDEN = "********"
_TEXT_LIMIT = 3_500  # a line of 8 KiB is what ccn up reads

_SECRET_WORDS = frozenset({
    "authorization", "content", "cookie", "credential", "credentials", "key", "passphrase", "passwd",
    "password", "prompt", "secret", "token",
})  # fmt: skip
_SECRET_TEXT = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{0,20}://[^\s:/@?#]{0,200}:)[^\s]{0,500}@"
    r"|(?P<named>(?i:bearer|password=|api[_-]key=|token=) ?)[^\s&;,'\"]+"
    r"|(?P<vendor>sk-)[A-Za-z0-9_-]{8,}"
)

_CHATTY = ("anthropic", "asyncio", "grpc", "httpcore", "httpcore2", "httpx", "httpx2", "websockets")
"""Libraries that log a line for every request; at debug the SDK would even log its content."""


def configure_logging(
    log: settings.LogSettings, *, node: str | None = None, stream: TextIO | None = None
) -> None:
    """Make every logger of this process write to `stream` (stderr) in the form `log` asks for."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _bind_node(node),
        structlog.processors.format_exc_info,
        _cut_text(4 * _TEXT_LIMIT),  # first, so that no text is too long to search; the rest later, so that
        hide_secrets,  # no secret is cut in half before it is seen
        _cut_text(_TEXT_LIMIT),
    ]
    sink = stream or sys.stderr
    handler = _QuietHandler(sink)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _choose_renderer(log, sink),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(log.level.upper())
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def warn_of_ignored(reading: settings.SettingsReading) -> None:
    """Warn of variables that begin like a setting and are none: they may be mistakes."""
    if reading.ignored:
        structlog.get_logger().warning("variables without effect", names=list(reading.ignored))


def hide_secrets(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Mask secrets: fields by their name, and those inside other text."""
    del logger, method
    return {name: _hide_value(name, value) for name, value in event.items()}


def _hide_value(name: str, value: object) -> object:
    if name.startswith("_"):  # the formatter's own
        return value
    words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    return HIDDEN if _SECRET_WORDS.intersection(words) else _hide_inside(value)


def _hide_inside(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {str(key): _hide_value(str(key), inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_hide_inside(inner) for inner in value]
        case bytes():
            return f"<{len(value)} bytes>"
        case _:
            return _mask_secrets(str(value))


def _mask_secrets(text: str) -> str:
    return _SECRET_TEXT.sub(
        lambda found: (
            f"{found['scheme']}{HIDDEN}@" if found["scheme"] else f"{found[found.lastgroup or 0]}{HIDDEN}"
        ),
        text,
    )


def _cut_text(limit: int) -> Processor:
    """Cut long texts; of a traceback keep the end, which tells most."""

    def cut_fields(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        del logger, method
        for name, value in event.items():
            if isinstance(value, str) and len(value) > limit:
                event[name] = f"… {value[-limit:]}" if name == "exception" else f"{value[:limit]} …"
        return event

    return cut_fields


def _bind_node(node: str | None) -> Processor:
    def add_node(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        del logger, method
        if node is not None:
            event.setdefault("node", node)
        return event

    return add_node


def _choose_renderer(log: settings.LogSettings, stream: TextIO) -> Processor:
    if log.format == "json":
        return structlog.processors.JSONRenderer(default=str, ensure_ascii=False)
    colour = lines.can_show_colours(stream)
    return lambda _logger, _method, event: lines.render_event(event, colour=colour)


class _QuietHandler(logging.StreamHandler[TextIO]):
    """A handler that ignores a closed pipe: a reader that is gone must not disturb the work."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class's name
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)
