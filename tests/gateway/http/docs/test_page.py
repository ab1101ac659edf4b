"""The page as a browser's network sees it: what is served, how it is cached, and what it may do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from html.parser import HTMLParser

import httpx
import pytest
from fastapi import FastAPI

from ccn import settings
from ccn.gateway import readiness
from ccn.gateway.http import app, auth
from ccn.gateway.http.docs import page
from ccn.gateway.limiting import Limiter

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
OTHERS = [
    "http://10.0.0.1:7700",
    "https://node-3.example/",
    "http://[fd00::1]:7700",
    "nowhere",
    "http://a;b",
]


def application(doors: page.HttpAddresses | None = None, **chosen: object) -> FastAPI:
    return app.create_app(
        "node-7",
        readiness.Readiness({}),
        http=settings.HttpSettings.model_validate(chosen),
        list_addresses=doors,
    )


def client_of(made: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(made), base_url="http://node")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(application(lambda: OTHERS)) as opened:
        yield opened


class Parsed(HTMLParser):
    """The elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, *tags: str) -> Iterator[dict[str, str]]:
        return (attributes for tag, attributes in self.elements if tag in tags)


@pytest.fixture
async def parsed(client: httpx.AsyncClient) -> Parsed:
    return Parsed((await client.get("/", headers=HTML)).text)


def directives(policy: str) -> dict[str, list[str]]:
    parts = (part.split() for part in policy.split(";"))
    return {name: values for name, *values in parts}


async def test_a_browser_gets_the_page_and_a_program_the_pointer(client: httpx.AsyncClient) -> None:
    shown, told = await client.get("/", headers=HTML), await client.get("/")
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    assert told.headers["content-type"] == "application/json"
    assert "Accept" in shown.headers["vary"]
    assert "Accept" in told.headers["vary"]


async def test_the_page_says_that_an_ai_speaks_and_claims_nothing_more(parsed: Parsed) -> None:
    words = " ".join(parsed.text.split())
    assert "You talk to an AI." in words
    scripts = b"".join(page.load_assets().files.values()).decode().lower()
    for claim in ("conscious", "sentient", "self-aware", "soul"):
        assert claim not in words.lower()
        assert claim not in scripts


async def test_the_policy_allows_the_page_s_own_files_and_its_own_cluster_only(
    client: httpx.AsyncClient,
) -> None:
    policy = directives((await client.get("/", headers=HTML)).headers["content-security-policy"])
    assert policy.pop("connect-src") == [
        "'self'",
        "http://10.0.0.1:7700",
        "http://[fd00::1]:7700",
        "https://node-3.example",
        "ws://10.0.0.1:7700",
        "ws://[fd00::1]:7700",
        "wss://node-3.example",
    ]
    assert policy == {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
        "require-trusted-types-for": ["'script'"],
    }


async def test_the_page_needs_nothing_that_its_policy_forbids(parsed: Parsed) -> None:
    for tag, attributes in parsed.elements:
        assert tag != "style"
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
    for script in parsed.all("script"):
        assert script["src"].startswith("static/")
    for name, content in page.load_assets().files.items():
        if name.endswith(".js"):
            assert not re.search(
                rb"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", content
            ), name
        if not name.endswith(".svg"):
            assert not re.findall(rb"https?://(?!www\.w3\.org/2000/svg)", content), name


async def test_every_file_of_the_page_is_there_and_stays_for_ever(
    client: httpx.AsyncClient, parsed: Parsed
) -> None:
    named = [each.get("src") or each["href"] for each in parsed.all("script", "link")]
    folder = named[0].rpartition("/")[0]
    assert folder == f"static/{page.load_assets().version}"
    assert len(named) == 3
    for name in page.load_assets().files.keys() - {"index.html"}:
        answer = await client.get(f"/{folder}/{name}")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"] == page.CONTENT_TYPES[name.rpartition(".")[2]]
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_modules_import_only_what_is_there() -> None:
    files = page.load_assets().files
    imported = {
        name.decode()
        for content in files.values()
        for name in re.findall(rb'^import .* from "\./([^"]+)";$', content, re.MULTILINE)
    }
    assert imported
    assert imported <= files.keys()


async def test_a_file_of_another_version_is_served_and_not_kept(client: httpx.AsyncClient) -> None:
    answer = await client.get("/static/0123456789abcdef/page.js")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")


@pytest.mark.parametrize("path", ["/", "/static/other/page.css"])
async def test_what_a_browser_has_is_not_sent_again(client: httpx.AsyncClient, path: str) -> None:
    first = await client.get(path, headers=HTML)
    assert first.headers["etag"].startswith('"')
    for known in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
        again = await client.get(path, headers=HTML | {"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers.get("content-security-policy") == first.headers["content-security-policy"]
    assert (await client.get(path, headers=HTML | {"If-None-Match": '"other"'})).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["index.html", "page.py", "..%2fpage.py", "%2e%2e/page.py", "x" * 65, "page.js/more", "page.js%00"],
)
async def test_nothing_else_is_served(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/static/{page.load_assets().version}/{path}")
    assert answer.status_code in {404, 422}
    assert answer.headers["content-type"] == "application/problem+json"


async def test_the_page_is_not_counted(client: httpx.AsyncClient) -> None:
    assert "x-ratelimit-remaining" not in (await client.get("/", headers=HTML)).headers
    assert "x-ratelimit-remaining" in (await client.get("/status")).headers


async def test_a_page_of_another_door_of_the_cluster_may_call_and_a_stranger_s_may_not() -> None:
    doors = ["http://10.0.0.1:7700"]
    async with client_of(application(lambda: doors, cors_origins=["https://named.example"])) as client:

        async def lets(origin: str) -> bool:
            asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            answer = await client.options("/token", headers=asked)
            return bool(answer.headers.get("access-control-allow-origin") == origin)

        assert await lets("http://10.0.0.1:7700")
        assert await lets("https://named.example")
        assert not await lets("http://10.0.0.2:7700")
        doors.append("http://10.0.0.2:7700")
        assert await lets("http://10.0.0.2:7700")
        assert not await lets("null")


async def test_every_field_has_a_label_and_every_landmark_a_name(parsed: Parsed) -> None:
    labelled = {label["for"] for label in parsed.all("label")}
    ids = [each["id"] for _, each in parsed.elements if "id" in each]
    assert len(ids) == len(set(ids))
    for field in parsed.all("input", "select", "textarea"):
        assert field["id"] in labelled
    for named in parsed.all("section", "nav", "dialog"):
        assert named.get("aria-label") or named["aria-labelledby"] in ids
    for _, each in parsed.elements:
        for reference in ("aria-labelledby", "aria-describedby", "for"):
            assert set(each.get(reference, "").split()) <= set(ids)
        assert int(each.get("tabindex", "0")) <= 0  # the order of the page is the order of the keyboard
    assert [tag for tag, _ in parsed.elements].count("main") == 1
    assert dict(parsed.elements)["html"] == {"lang": "en"}


async def test_what_people_write_is_laid_out_from_the_side_of_its_script(parsed: Parsed) -> None:
    written = {each["id"]: each.get("dir") for _, each in parsed.elements if "id" in each}
    assert {written[each] for each in ("title", "message", "talk-title")} == {"auto"}


async def test_watching_takes_nothing_from_what_may_be_asked_besides() -> None:
    desk = auth.AuthContext(Limiter(settings.LimitsSettings(requests=2)))
    made = app.create_app("node-7", readiness.Readiness({}), auth_context=desk)
    async with client_of(made) as client:

        async def statuses(path: str) -> list[int]:
            return [(await client.get(path)).status_code for _ in range(3)]

        assert await statuses("/status") == [503, 503, 429], "nobody has a status to tell here"
        assert await statuses("/api/v1/metrics/realtime") == [503, 503, 429]


COLOUR = re.compile(r"--([a-z-]+): (#[0-9a-f]{6});")
PAIRS = [
    *(
        (text, ground)
        for text in ("text", "muted", "accent", "bad", "good")
        for ground in ("ground", "card")
    ),
    ("text", "mine"),
    ("text", "notice"),
    ("muted", "mine"),
    ("on-accent", "accent"),
    *((text, "code") for text in ("text", "muted", "accent")),
]
SHAPES = [(shape, ground) for shape in ("edge", "accent", "written") for ground in ("ground", "card")]


def contrast(one: str, other: str) -> float:
    """As WCAG 2.2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_stands_out_from_its_ground(scheme: str) -> None:
    light, dark = page.load_assets().files["page.css"].decode().split("@media (prefers-color-scheme: dark)")
    colours = dict(COLOUR.findall(light if scheme == "light" else dark))
    assert [pair for pair in PAIRS if contrast(colours[pair[0]], colours[pair[1]]) < 4.5] == []
    assert [pair for pair in SHAPES if contrast(colours[pair[0]], colours[pair[1]]) < 3] == []
