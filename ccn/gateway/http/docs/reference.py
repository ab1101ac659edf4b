"""Renders `/docs`: the OpenAPI document as a page without scripts and without files from other servers.

FastAPI's own page loads Swagger UI from a public CDN. An offline machine cannot reach that, and the content
policy of an operator should refuse it. This page shows how to call each operation, and what it answers.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from ccn import errors
from ccn.core import error_codes
from ccn.gateway.http import problems

_STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8881; --accent: #0b6363; --muted: #555d65; }
@media (prefers-color-scheme: dark) { :root { --accent: #72cdc6; --muted: #a3abb3; } }
* { box-sizing: border-box; }
body { font: 1rem/1.55 system-ui, sans-serif; max-width: 54rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { color: var(--accent); margin: 0; }
a { color: var(--accent); }
h2 { margin: 3rem 0 0; padding-top: 1rem; border-top: 1px solid var(--line); text-transform: capitalize; }
h3 { margin: 2rem 0 .25rem; font-size: 1rem; overflow-wrap: anywhere; }
h3 b { color: var(--accent); }
code, pre { font: .875rem/1.5 ui-monospace, monospace; }
p { margin: .25rem 0 .5rem; white-space: pre-line; }
pre { overflow-x: auto; margin: .5rem 0; padding: .625rem .75rem; }
pre { background: var(--soft); border-radius: .5rem; }
nav ul { columns: 34rem; padding: 0; list-style: none; }
nav li { margin: .125rem 0; overflow-wrap: anywhere; }
.who { color: var(--muted); font-size: .875rem; margin: 0; }
table { border-collapse: collapse; font-size: .875rem; display: block; overflow-x: auto; margin: .5rem 0; }
td, th { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; }
td { border-bottom: 1px solid var(--line); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
"""
_SIGN_IN = """KEY=ccn_…             # from `ccn key issue`, or an access token:
curl $NODE/token -d username=ada --data-urlencode 'password=correct horse'"""
_ACCESS_OF_GROUP = {"admin": "For admins.", "operating": "For admins."}
_PUBLIC_PATHS = ("/status", "/api/v1/metrics/realtime", "/token", "/token/refresh", "/token/revoke")

Document = Mapping[str, Any]


def render_page(document: Document) -> str:
    """Render the whole reference."""
    info, paths = document["info"], document["paths"]
    models = document.get("components", {}).get("schemas", {})
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f"<title>{_escape_text(info['title'])}: reference</title>"
        f"<meta name=viewport content='width=device-width, initial-scale=1'><style>{_STYLE}</style>"
        f"<main><h1>{_escape_text(info['title'])} {_escape_text(info['version'])}</h1>"
        f"<p>{_escape_text(info.get('description', ''))}</p>"
        "<p>For programs: <a href=openapi.json>openapi.json</a>. Examples take <code>$NODE</code> for the "
        "address of any node, and <code>$KEY</code> for a credential.</p>"
        f"<pre>{_escape_text(_SIGN_IN)}</pre>"
        f"<nav aria-label=Operations><ul>{''.join(_render_contents(paths))}</ul></nav>"
        f"{''.join(_render_operations(paths))}<h2 id=problems>Problems</h2>"
        "<p>An error is application/problem+json with a <code>code</code> that never changes; "
        "programs decide by it. Under /v1 errors have the shape of the Messages API.</p>"
        f"{''.join(_render_problems())}<h2 id=models>Models</h2>{''.join(_render_models(models))}"
        "</main></html>"
    )


def _render_contents(paths: Document) -> Iterator[str]:
    for method, path, _ in _iterate_operations(paths):
        yield f"<li><a href='#{_make_anchor(method, path)}'><code>{method} {_escape_text(path)}</code></a>"


def _render_operations(paths: Document) -> Iterator[str]:
    last_group = None
    for method, path, operation in _iterate_operations(paths):
        [group, *_] = operation.get("tags") or ["more"]
        if group != last_group:
            yield f"<h2>{_escape_text(group)}</h2>"
        last_group = group
        anchor = _make_anchor(method, path)
        yield f"<h3 id='{anchor}'><code><b>{method}</b> {_escape_text(path)}</code></h3>"
        yield f"<p>{_escape_text(operation.get('description') or operation.get('summary', ''))}</p>"
        yield f"<p class=who>{_describe_access(group, path, operation)}</p>"
        yield f"<pre>{_escape_text(_render_call(method, path, operation))}</pre>"
        yield "".join(f"<pre>{_escape_text(each)}</pre>" for each in _render_examples(operation))
        yield _render_table("Parameter", _list_parameters(operation))
        yield _render_table("Answer", _list_answers(operation))


def _iterate_operations(paths: Document) -> Iterator[tuple[str, str, Document]]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _describe_access(group: str, path: str, operation: Document) -> str:
    if group in _ACCESS_OF_GROUP:
        return _ACCESS_OF_GROUP[group]
    return (
        "For anybody."
        if path in _PUBLIC_PATHS or "security" not in operation
        else "For callers who have signed in."
    )


def _render_call(method: str, path: str, operation: Document) -> str:
    """Render the command that calls an operation."""
    path_with_variables = re.sub(r"\{(\w+)\}", lambda match: f"${match[1].upper()}", path)
    required = [
        each for each in operation.get("parameters", ()) if each["in"] == "query" and each.get("required")
    ]
    query = "&".join(f"{each['name']}={each['schema'].get('examples', ['…'])[0]}" for each in required)
    parts = ["curl", *(["-X", method] if method == "DELETE" else [])]
    url = f"$NODE{path_with_variables}"
    parts.append(f'"{url}?{query}"' if query else url)
    if "security" in operation and path not in _PUBLIC_PATHS:
        parts.append('-H "Authorization: Bearer $KEY"')
    body = operation.get("requestBody", {}).get("content", {})
    for content_type, content in body.items():
        if "form" in content_type:
            fields = content["example"].items()
            return " ".join([*parts, *(f"-d '{name}={value}'" for name, value in fields)])
        data = json.dumps(content.get("example", {}), ensure_ascii=False)
        return " ".join([*parts, "-H 'Content-Type: application/json'"]) + f" \\\n  -d '{data}'"
    return " ".join([*parts, *(["-X POST"] if method == "POST" else [])])


def _render_examples(operation: Document) -> Iterator[str]:
    for number, answer in operation["responses"].items():
        for body in answer.get("content", {}).values():
            example = body.get("example")
            if example is not None and number in {"200", "201"}:
                line = json.dumps(example, ensure_ascii=False)
                yield (
                    example
                    if isinstance(example, str)
                    else line
                    if len(line) < 100
                    else _indent_json(example)
                )


def _indent_json(example: object) -> str:
    return json.dumps(example, indent=2, ensure_ascii=False)


def _list_parameters(operation: Document) -> Iterator[tuple[str, str]]:
    for parameter in operation.get("parameters", ()):
        suffix = "" if parameter.get("required") else ", optional"
        yield f"{parameter['name']} ({parameter['in']}{suffix})", parameter.get("description", "")
    for content_type, body in operation.get("requestBody", {}).get("content", {}).items():
        yield f"body ({content_type})", _name_type(body.get("schema", {}))


def _list_answers(operation: Document) -> Iterator[tuple[str, str]]:
    failures = dict[str, list[str]]()
    for status, answer in sorted(operation["responses"].items()):
        shapes = ", ".join(
            f"{_name_type(content.get('schema', {}))} ({content_type})"
            for content_type, content in answer.get("content", {}).items()
        )
        description = answer.get("description", "").removeprefix("Successful Response")
        if description == HTTPStatus(int(status)).phrase:  # it says no more than the number
            failures.setdefault(shapes, []).append(status)
        else:
            yield status, ": ".join(filter(None, (description, shapes)))
    for shapes, statuses in failures.items():
        yield " ".join(statuses), shapes


def _render_problems() -> Iterator[str]:
    """List every code that the door can answer with, from the tree of errors."""
    rows = (
        (
            f"{problems.status_of_error(kind)} {error_codes.code_from_name(kind.__name__)}",
            (kind.__doc__ or "").strip(),
        )
        for kind in _iterate_subclasses(errors.CCNError)
        if problems.status_of_error(kind) != problems.STATUS[errors.CCNError]
    )
    yield _render_table("Status and code", iter(sorted(rows)))


def _iterate_subclasses(kind: type[errors.CCNError]) -> Iterator[type[errors.CCNError]]:
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__:
            yield each
            yield from _iterate_subclasses(each)


def _render_models(schemas: Document) -> Iterator[str]:
    for name, schema in schemas.items():
        yield f"<h3 id='{_escape_text(name)}'>{_escape_text(name)}</h3>"
        yield f"<p>{_escape_text(schema.get('description', ''))}</p>"
        required = schema.get("required", ())
        yield _render_table(
            "Field",
            (
                (
                    field if field in required else f"{field}?",
                    ". ".join(filter(None, (_name_type(of), of.get("description", "")))),
                )
                for field, of in schema.get("properties", {}).items()
            ),
        )


def _name_type(schema: Document) -> str:
    """Name the type of a value in a word or two."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(map(_name_type, choices))
    if "const" in schema or "enum" in schema:
        return " or ".join(map(json.dumps, schema.get("enum", [schema.get("const")])))
    kind = str(schema.get("format") or schema.get("type") or "any")
    return f"list of {_name_type(schema['items'])}" if kind == "array" and "items" in schema else kind


def _render_table(heading: str, rows: Iterator[tuple[str, str]]) -> str:
    lines = "".join(
        f"<tr><td><code>{_escape_text(left)}</code><td>{_escape_text(right)}" for left, right in rows
    )
    return f"<table><tr><th>{heading}<th>{lines}</table>" if lines else ""


def _make_anchor(method: str, path: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{method} {path}".lower()).strip("-")


def _escape_text(value: object) -> str:
    return html.escape(str(value), quote=True)
