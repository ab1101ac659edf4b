"""`/docs`: the OpenAPI document as a page that needs no script and nothing from anybody else's server.

FastAPI's own page loads Swagger UI from a public CDN, which an offline machine has not and an operator's
content policy should refuse.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.45 ui-monospace, monospace; }
h2 code { font-size: 1em; } h2 { margin: 2rem 0 0; border-top: 1px solid #8884; padding-top: 1rem; }
pre { overflow-x: auto; background: #8881; padding: .75rem; border-radius: .25rem; }
table { border-collapse: collapse; }
td, th { text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top; }
:root { color-scheme: light dark; }
"""


def page(document: dict[str, Any]) -> str:
    """The whole reference."""
    info = document["info"]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{_text(info['title'])}</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
        f"<h1>{_text(info['title'])} {_text(info['version'])}</h1>"
        f"<p>{_text(info.get('description', ''))}</p>"
        "<p>For programs: <a href=openapi.json>openapi.json</a></p>"
        + "".join(_operations(document["paths"]))
        + "<h2>Models</h2>"
        + "".join(_models(document.get("components", {}).get("schemas", {})))
        + "</html>"
    )


def _operations(paths: dict[str, dict[str, Any]]) -> Iterator[str]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            yield f"<h2><code>{_text(method.upper())} {_text(path)}</code></h2>"
            yield f"<p>{_text(operation.get('description') or operation.get('summary', ''))}</p>"
            yield _table("Parameter", _parameters(operation))
            yield _table("Answer", _answers(operation))


def _parameters(operation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for parameter in operation.get("parameters", ()):
        needed = "" if parameter.get("required") else ", optional"
        yield f"{parameter['name']} ({parameter['in']}{needed})", parameter.get("description", "")
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        yield f"body ({kind})", _name(body.get("schema", {}))


def _answers(operation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for status, answer in operation["responses"].items():
        shapes = ", ".join(
            f"{_name(content.get('schema', {}))} ({kind})"
            for kind, content in answer.get("content", {}).items()
        )
        yield (
            status,
            f"{answer.get('description', '')}: {shapes}" if shapes else answer.get("description", ""),
        )


def _models(schemas: dict[str, Any]) -> Iterator[str]:
    for name, schema in schemas.items():
        yield f"<h3 id='{_text(name)}'>{_text(name)}</h3><p>{_text(schema.get('description', ''))}</p>"
        yield f"<pre>{_text(json.dumps(schema.get('properties', {}), indent=1, ensure_ascii=False))}</pre>"


def _name(schema: dict[str, Any]) -> str:
    return str(schema.get("$ref", schema.get("type", "any"))).rsplit("/", 1)[-1]


def _table(heading: str, rows: Iterator[tuple[str, str]]) -> str:
    lines = "".join(f"<tr><td><code>{_text(left)}</code><td>{_text(right)}" for left, right in rows)
    return f"<table><tr><th>{heading}<th>{lines}</table>" if lines else ""


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)
