"""The modules of the page one by one, in a real browser without a cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from ccn import settings
from ccn.gateway import readiness
from ccn.gateway.http import app, server
from ccn.gateway.http.docs import page
from tests.support.gateway import browser as browsers
from tests.support.gateway.browser import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with browsers.running() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(browser: Browser) -> AsyncIterator[Page]:
    """A page under its own policy."""
    http, stop = settings.HttpSettings(port=0), asyncio.Event()
    listening = server.listen_on_port(http)
    made = app.create_app("node-7", readiness.Readiness({}), None, None, http)
    serving = asyncio.create_task(server.serve_app(made, listening, stop, 1.0, http))
    host, port = listening.getsockname()[:2]
    opened = await browser.open(f"http://{host}:{port}/")
    yield opened
    await opened.close()
    stop.set()
    await serving
    listening.close()


async def run(served: Page, module: str, body: str, *given: object) -> object:
    """What a function of JavaScript makes of these, with the module as `m`."""
    arguments = ", ".join(map(json.dumps, given))
    address = f"/static/{page.load_assets().version}/{module}"
    return await served.js(
        f"import({json.dumps(address)}).then((m) => (async (...given) => {{ {body} }})({arguments}))"
    )


SHOWN = """
    const place = document.createElement('div');
    new m.Writing(place).show(given[0]);
    return place.innerHTML.replaceAll(' dir="auto"', '');
"""
LINK = '<a href="{0}" rel="noopener noreferrer nofollow" target="_blank" title="{0}">{1}</a>'
TABLE = '<div class="wide" role="region" aria-label="Table" tabindex="0"><table>'
COPY = '<button type="button" class="plain">Copy</button>'
CODE = f'<div class="code" dir="ltr"><div class="code-head"><span>{{0}}</span>{COPY}</div>'
CASES = {
    "plain words\nin two lines": "<p>plain words\nin two lines</p>",
    "one\n\n\ntwo": "<p>one</p><p>two</p>",
    "## Before autumn ##\n# C#": "<h4>Before autumn</h4><h3>C#</h3>",
    "**short** and *light*, ***both***, __so__ _too_, ~~gone~~": "<p><strong>short</strong> and "
    "<em>light</em>, <strong><em>both</em></strong>, <strong>so</strong> <em>too</em>, <s>gone</s></p>",
    "snake_case_name, 2 * 3 * 4, a*b*c, 5*": "<p>snake_case_name, 2 * 3 * 4, a<em>b</em>c, 5*</p>",
    "**not closed and `neither": "<p>**not closed and `neither</p>",
    "`a*b*` and ``a`b`` and `` ` ``": "<p><code>a*b*</code> and <code>a`b</code> and <code>`</code></p>",
    r"\*plain\* and \d": r"<p>*plain* and \d</p>",
    "- one\n- two\n  more\n  - inner\n\n  para\n* three": "<ul><li>one</li><li>two\nmore<ul><li>inner</li>"
    "</ul><p>para</p></li><li>three</li></ul>",
    "3. c\n4. d\n\nafter": '<ol start="3"><li>c</li><li>d</li></ol><p>after</p>',
    "In 1992.\n1992. was a year": "<p>In 1992.\n1992. was a year</p>",
    "> said\n> twice\nlazily\n\nback": "<blockquote><p>said\ntwice\nlazily</p></blockquote><p>back</p>",
    "a\n---\nb": "<p>a</p><hr><p>b</p>",
    "| a | b |\n|---|--:|\n| 1 | 2 \\| 3 |\n| 4 |": TABLE
    + '<thead><tr><th class="start">a</th><th class="end">b</th></tr></thead><tbody><tr>'
    '<td class="start">1</td><td class="end">2 | 3</td></tr><tr><td class="start">4</td>'
    '<td class="end"></td></tr></tbody></table></div>',
    "```py\nif a < b:\n    **c**\n```\nafter": CODE.format("py")
    + '<pre tabindex="0"><code>if a &lt; b:\n    **c**'
    "</code></pre></div><p>after</p>",
    '[a *b*](https://x.test/q "t")': "<p>" + LINK.format("https://x.test/q", "a <em>b</em>") + "</p>",
    "see https://x.test/a_(b).": "<p>see "
    + LINK.format("https://x.test/a_(b)", "https://x.test/a_(b)")
    + ".</p>",
    "![alt](https://x.test/i.png)": "<p>" + LINK.format("https://x.test/i.png", "Picture: alt") + "</p>",
    "مرحبا **English**": "<p>مرحبا <strong>English</strong></p>",
}


async def test_markdown_becomes_what_it_means(served: Page) -> None:
    for text, wanted in CASES.items():
        assert await run(served, "markdown.js", SHOWN, text) == wanted, text


HOSTILE = [
    "<img src=x onerror=alert(1)><script>alert(1)</script>",
    "[x](javascript:alert(1)) [x](JaVaScRiPt:alert(1)) [x](java\tscript:alert(1)) [x]( data:text/html,x )",
    "[x](//evil.test) [x](/api/v1/me) [x](vbscript:x) [x](blob:x) [x](file:///etc/passwd)",
    '![x](javascript:alert(1)) <https://x.test> [a](https://x.test"onmouseover=alert(1))',
    "```<script>\nalert(1)\n",
    "[[x](https://a.test)](https://b.test)",
]
ENDLESS = [
    "*a ",
    "**a",
    "_",
    "[",
    "![",
    "](",
    "[a](b(",
    "`",
    "`a``b",
    "> ",
    "- ",
    "  - x\n",
    "| - |\n",
    "#",
    "# \t",
    "~~~",
    "\\",
    "http://",
    "https://x.test/(((",
    "***a** ",
    "\n> ",
    "1. ",
    " - \t",
    "a|",
    "|-",
    ": - ",
]


async def test_nothing_that_a_text_says_becomes_markup_or_a_way_out(served: Page) -> None:
    for text in HOSTILE:
        shown = await run(
            served,
            "markdown.js",
            """
            const place = document.createElement('div');
            new m.Writing(place).show(given[0]);
            return [...place.querySelectorAll('*')]
                .map((each) => [each.localName, each.getAttributeNames(), each.href]);
            """,
            text,
        )
        assert isinstance(shown, list)
        for name, attributes, href in shown:
            assert name in {"p", "a", "div", "span", "button", "pre", "code"}
            assert not [each for each in attributes if each.startswith("on") or each in {"style", "src"}]
            assert href is None or href.startswith("https://"), text
        assert len([each for each in shown if each[0] == "a"]) <= 2
    assert [each for each in served.complaints if "/status" not in each] == []


async def test_no_text_takes_long_or_nests_without_end(served: Page) -> None:
    for piece in ENDLESS:
        deepest = await run(
            served,
            "markdown.js",
            """
            const place = document.createElement('div');
            new m.Writing(place).show(given[0].repeat(Math.ceil(60_000 / given[0].length)) + 'x');
            const depth = (node) => 1 + Math.max(0, ...[...node.children].slice(0, 50).map(depth));
            return [depth(place), place.textContent.length];
            """,
            piece,
        )
        assert isinstance(deepest, list)
        assert deepest[0] < 60, piece
        assert deepest[1] > 0, piece


async def test_a_reply_that_grows_ends_as_if_it_had_come_at_once_and_keeps_what_was_complete(
    served: Page,
) -> None:
    whole = "\n\n".join(CASES)
    grown = await run(
        served,
        "markdown.js",
        """
        const [place, once] = [document.createElement('div'), document.createElement('div')];
        const writing = new m.Writing(place);
        writing.show(given[0].slice(0, 60));
        const first = place.firstChild;
        for (let end = 60; end < given[0].length; end += 7) writing.show(given[0].slice(0, end));
        writing.show(given[0]);
        new m.Writing(once).show(given[0]);
        const kept = place.firstChild === first;
        const same = place.innerHTML === once.innerHTML;
        writing.show('Anew.');
        return [kept, same, place.textContent];
        """,
        whole,
    )
    assert grown == [True, True, "Anew."]


async def test_code_is_copied_or_selected_for_whoever_copies_it(served: Page) -> None:
    told = await run(
        served,
        "markdown.js",
        """
        const place = document.createElement('div');
        new m.Writing(place).show('```\\na < b\\n```');
        document.body.append(place);
        Object.defineProperty(navigator, 'clipboard', { value: undefined });
        place.querySelector('button').click();
        await new Promise((resolve) => setTimeout(resolve));
        const told = [place.querySelector('button').textContent, getSelection().toString()];
        place.remove();
        return told;
        """,
    )
    assert told == ["Selected", "a < b"]


STATUS: dict[str, Any] = {
    "node": "node-1",
    "nodes": [
        {"node": "node-1", "here": True, "draining": False, "since": "2026-11-30T22:00:00Z"},
        {"node": "node-2", "here": True, "draining": False, "since": "2026-11-30T22:00:01Z"},
    ],
    "leader": "node-1",
    "term": 4,
    "led_since": "2026-11-30T22:00:02Z",
    "evidence": [],
    "model": None,
}


async def test_what_happened_is_told_from_what_differs(served: Page) -> None:
    one, two = STATUS["nodes"]
    later = "2026-11-30T22:05:00Z"
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, []),
        ({"nodes": [one, two | {"here": False}]}, ["node-2 is away"]),
        ({"nodes": [one, two | {"since": later}]}, ["node-2 started again"]),
        ({"nodes": [one, two | {"draining": True}]}, ["node-2 is being drained"]),
        ({"nodes": [one, two, two | {"node": "node-3"}]}, ["node-3 joined"]),
        ({"leader": "node-2", "term": 5}, ["node-2 leads, term 5"]),
        ({"leader": None}, ["nobody leads"]),
        ({"model": {"number": 2}}, ["the language model does not answer node-1"]),
    ]
    told = await run(
        served,
        "events.js",
        "return given[1].map((each) => m.happened(given[0], each));",
        STATUS,
        [STATUS | change for change, _ in cases],
    )
    assert told == [wanted for _, wanted in cases]
    back = "return m.happened(given[1], given[0]);"
    assert await run(served, "events.js", back, STATUS, STATUS | cases[1][0]) == ["node-2 is back"]
    assert await run(
        served, "events.js", "return m.earlier(given[0]).map((each) => each.text);", STATUS
    ) == [
        "node-1 leads, term 4",
        "node-2 started",
        "node-1 started",
    ]
    here = {
        "session_id": "s",
        "instance_id": "0-a25c5f",
        "character": "wren",
        "node": "node-1",
        "status": "running",
    }
    moves = [[here | {"node": "node-2"}], [here | {"status": "quarantined"}], [here], []]
    told = await run(
        served, "events.js", "return given[1].map((each) => m.moved([given[0]], each));", here, moves
    )
    assert told == [["wren a25c5f moved from node-1 to node-2"], ["wren a25c5f is quarantined"], [], []]


async def test_a_reply_keeps_what_happened_to_it(served: Page) -> None:
    events = [
        {"name": "accepted", "data": {"turn_id": "t", "seq": 1}},
        {"name": "waiting", "data": {"number": 2, "most": 5, "pause_s": 2, "reason": "network"}},
        {"name": "delta", "data": {"text": "Well, "}},
        {"name": "restart", "data": {"reason": "server"}},
        {"name": "delta", "data": {"text": "Well, I "}},
        {"name": "restart", "data": {"reason": "begun anew on node-2"}},
        {"name": "delta", "data": {"text": "Well, I am."}},
        {"name": "done", "data": {}},
    ]
    told = await run(
        served,
        "reply.js",
        """
        const reply = new m.Reply('Wren', new Date());
        const notes = [];
        for (const each of given[0]) {
            reply.take({ id: '', ...each });
            notes.push(reply.node.querySelector('.note').firstChild?.data ?? '');
        }
        reply.close();
        const all = (what) => [...reply.node.querySelectorAll(what)].map((each) => each.textContent);
        return [notes, all('.happened'), all('.voided summary'), all('.text'), reply.node.ariaBusy];
        """,
        events,
    )
    assert isinstance(told, list)
    notes, happened, voided, texts, busy = told
    assert notes[1] == "The language model does not answer. Trying again, 2 of 5."
    assert notes[3] == "The reply broke off, and begins anew."
    assert notes[5] == "The node that spoke is gone. Another one begins this reply anew."
    assert notes[-1] == ""
    assert [each.replace("0.0", "T") for each in happened] == [
        "Begun anew after T s (server).",
        "Begun anew on node-2 after T s.",
    ]
    assert voided == ["Void: 1 word of an earlier try", "Void: 2 words of an earlier try"]
    assert texts == ["Well,", "Well, I", "Well, I am."]
    assert busy == "false"
