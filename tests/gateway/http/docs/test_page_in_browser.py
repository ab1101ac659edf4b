"""The page in a real browser: by keyboard, on a phone, through the death of a node, without a complaint."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import pytest_asyncio

from ccn import errors, settings
from ccn.core.axes import quantise_scores
from ccn.core.calls.call import CallRetry
from ccn.core.ids import ConversationId
from ccn.node.views.cluster_status import ClusterStatus
from ccn.store.accounts.users import Tier
from ccn.store.character import vectors
from tests.support.core.addresses import FOLLOWED, NOT_FOLLOWED
from tests.support.gateway import browser as browsers
from tests.support.gateway import page_cluster
from tests.support.gateway.browser import Browser, Page
from tests.support.gateway.page_cluster import Cluster
from tests.support.node.node_world import PATIENT, QUICK, Model

REPLY = "Well, I am here."
COUNTING = "SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NULL"


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with browsers.running() as running:
        yield running


@asynccontextmanager
async def opened(
    browser: Browser,
    database: settings.DatabaseSettings,
    model: Model,
    width: int = 1280,
    chosen: settings.InstancesSettings = PATIENT,
) -> AsyncIterator[tuple[Page, Cluster]]:
    """A page at the first of two nodes; ada and an operator may sign in."""
    async with page_cluster.cluster(database, model, chosen=chosen) as cluster:
        await cluster.user("ada")
        await cluster.user("operator", Tier.ADMIN)
        page = await browser.open(f"{cluster.doors[0].url}/", width, prefers_reduced_motion="reduce")
        try:
            await page.until("document.querySelector('#nodes li')")
            yield page, cluster
        finally:
            await page.close()


async def sign_in(page: Page, name: str = "ada", password: str = page_cluster.PASSWORD) -> None:
    await page.tab_to("#name")
    await page.type(name)
    await page.tab_to("#password")
    await page.type(password)
    await page.press("Enter")


async def start(page: Page, title: str) -> None:
    await page.until("document.querySelector('#character option')")
    await page.tab_to("#title")
    await page.type(title)
    await page.press("Enter")
    await page.until("document.activeElement.id === 'message' && !document.activeElement.disabled")


async def say(page: Page, text: str) -> None:
    await page.tab_to("#message")
    await page.type(text)
    await page.press("Enter")


async def words(page: Page) -> list[str]:
    """What the log of messages shows."""
    found = await page.js("[...document.querySelectorAll('#words .text')].map((each) => each.textContent)")
    assert isinstance(found, list)
    return found


async def settled(page: Page) -> None:
    """The reply is there, and whoever wrote can write again."""
    await page.until(
        "document.querySelector('#words [aria-busy=false]') && document.getElementById('stop').hidden"
    )


async def test_somebody_with_a_keyboard_signs_in_talks_and_comes_back(
    browser: Browser, database: settings.DatabaseSettings
) -> None:
    async with opened(browser, database, Model()) as (page, cluster):
        assert await page.js("document.querySelector('.notice').innerText.startsWith('You talk to an AI.')")
        await sign_in(page)
        await start(page, "Lighthouses")
        assert not await page.js("document.getElementById('stand-in').hidden")
        shown = await page.js("document.getElementById('glance').textContent")
        assert shown.endswith("(would be)"), "a stand-in costs nothing"
        assert "drift from the others –, needs two instances" in shown
        await page.type("Are you there?")
        await page.press("Enter", shift=True)
        await page.type("<b>Really</b>?")
        await page.press("Enter")
        await settled(page)
        assert await words(page) == ["Are you there?\n<b>Really</b>?", REPLY]
        assert await page.js("document.activeElement.id") == "message"
        assert await page.js("document.getElementById('said').textContent.trim()") == f"Ada: {REPLY}"
        await page.reload()
        await page.until("document.querySelectorAll('#words .text').length === 2")
        assert await words(page) == ["Are you there?\n<b>Really</b>?", REPLY]
        await page.js("performance.clearResourceTimings()")
        await say(page, "Still?")
        await settled(page)
        await page.until("document.querySelectorAll('#words .text').length === 4")
        asked = await page.js(
            "performance.getEntriesByType('resource').map((each) => new URL(each.name).pathname)"
        )
        of_the_message = [each for each in asked if each != "/status" and not each.endswith("/axes")]
        assert [each.rpartition("/")[2] for each in of_the_message] == ["messages"]
        await page.tab_to("#sign-out")
        await page.press("Enter")
        await page.until("document.body.dataset.who === 'nobody'")
        assert await words(page) == []
        assert await page.js("sessionStorage.length") == 0
        async with asyncio.timeout(60):  # nothing that the page held counts any more
            while await cluster.doors[0].node.pool.value(COUNTING):
                await asyncio.sleep(0.05)
        assert await page.js("document.getAnimations().length") == 0, "as whoever wants no motion wishes"
        assert page.complaints == []


async def test_a_wrong_password_is_told_in_words(
    browser: Browser, database: settings.DatabaseSettings
) -> None:
    async with opened(browser, database, Model()) as (page, _):
        await sign_in(page, password="wrong")
        await page.until("document.getElementById('sign-in-problem').textContent")
        told = await page.js("document.getElementById('sign-in-problem').textContent")
        assert told == "The name or the password is wrong."
        assert [each for each in page.complaints if "401" not in each] == []


async def test_escape_stops_a_reply_and_the_field_stays_as_high_as_it_was(
    browser: Browser, database: settings.DatabaseSettings
) -> None:
    async def hold(nth: int) -> None:
        if nth == 2:
            await asyncio.Event().wait()

    async with opened(browser, database, Model(gate=hold)) as (page, _):
        await sign_in(page)
        await start(page, "")
        high = "document.querySelector('.field').getBoundingClientRect().height"
        before = await page.js(high)
        await say(page, "Go on for ever.")
        await page.until("document.querySelectorAll('#words .text')[1]?.textContent === 'Well, I'")
        assert await page.js(high) == before
        await page.press("Escape")
        await page.until("document.querySelector('.void .note')?.textContent.startsWith('Stopped.')")
        assert not await page.js("document.getElementById('send').hidden")
        assert page.complaints == []


async def test_a_reply_goes_on_at_another_node_when_its_door_closes(
    browser: Browser, database: settings.DatabaseSettings
) -> None:
    held = asyncio.Event()

    async def hold(nth: int) -> None:
        if nth == 2:
            await held.wait()

    async with opened(browser, database, Model(gate=hold)) as (page, cluster):
        await sign_in(page)
        await start(page, "")
        await say(page, "Are you there?")
        await page.until("document.querySelectorAll('#words .text')[1]?.textContent === 'Well, I'")
        await cluster.doors[0].close()
        held.set()
        await settled(page)
        assert await words(page) == ["Are you there?", REPLY]
        await say(page, "And now?")
        await page.until("document.querySelectorAll('#words .text').length === 4")
        await settled(page)
        assert (await words(page))[2:] == ["And now?", REPLY]
        refused = [each for each in page.complaints if "ERR_" not in each]
        assert refused == []


async def test_the_page_follows_the_addresses_that_every_client_may(
    browser: Browser, database: settings.DatabaseSettings
) -> None:
    cases = json.dumps([*FOLLOWED, *NOT_FOLLOWED])
    told = f"m => {cases}.map(([pointed, learnt]) => m.mayFollow(pointed, learnt))"
    async with page_cluster.cluster(database, Model()) as cluster:
        page = await browser.open(f"{cluster.doors[0].url}/", 800)
        door = "document.querySelector('script').src.replace('page.js', 'door.js')"
        assert await page.js(f"import({door}).then({told})") == (
            [True] * len(FOLLOWED) + [False] * len(NOT_FOLLOWED)
        )
        await page.close()


async def test_a_rescue_stays_under_its_reply_also_after_a_reload(
    browser: Browser, database: settings.DatabaseSettings
) -> None:
    held = asyncio.Event()

    async def hold(nth: int) -> None:
        if nth == 2:
            await held.wait()

    async with opened(browser, database, Model(gate=hold), chosen=QUICK) as (page, cluster):
        await sign_in(page)
        await start(page, "")
        await say(page, "Are you there?")
        await page.until("document.querySelectorAll('#words .text')[1]?.textContent === 'Well, I'")
        await cluster.doors[0].node.die()
        held.set()
        await settled(page)
        line = "document.querySelector('#words .happened')?.textContent"
        live = await page.js(line)
        assert re.fullmatch(r"Begun anew on node-2 after \d+\.\d s\.", live), live
        assert await page.js("document.querySelector('.voided summary').textContent") == (
            "Void: 2 words of an earlier try"
        )
        assert (await words(page))[1:] == ["Well, I", REPLY]
        await page.reload()
        await page.until(line)
        assert re.fullmatch(r"Begun anew on node-2 after \d+\.\d s\.", await page.js(line))
        assert await words(page) == ["Are you there?", REPLY]


async def test_too_many_requests_say_how_long_to_wait_and_keep_the_words(
    browser: Browser, database: settings.DatabaseSettings
) -> None:
    async with opened(browser, database, Model()) as (page, cluster):
        await sign_in(page)
        await start(page, "")
        cluster.limit(settings.LimitsSettings(requests=1, window_s=60))
        await say(page, "Once.")
        await settled(page)
        await say(page, "Too much?")
        await page.until("document.getElementById('problem').textContent.startsWith('Too many requests.')")
        assert await page.js("document.getElementById('message').value") == "Too much?"
        assert await page.js("document.getElementById('send').disabled")
        assert await words(page) == ["Once.", REPLY]
        cluster.limit(settings.LimitsSettings(requests=1, window_s=3))
        await page.reload()
        await page.until(
            "document.getElementById('connection').textContent.startsWith('Too many requests.')"
        )
        assert not await page.js("document.getElementById('entry').checkVisibility()"), (
            "nobody was signed out"
        )
        await page.until("document.querySelector('#nodes .ok')")  # watching is counted apart
        cluster.limit(page_cluster.PLENTY)
        await page.until("!document.getElementById('message').disabled")
        assert await page.js("document.getElementById('connection').hidden")
        assert [each for each in page.complaints if "429" not in each] == []


async def test_what_passes_is_waited_out_and_what_a_user_may_not_have_is_told(
    browser: Browser, database: settings.DatabaseSettings
) -> None:
    refusals = {
        "too_many_requests": ("wait", "Too many requests."),
        "too_many_instances": ("wait", "All 3 are at work."),
        "too_many_conversations": ("told", "All 3 are at work."),
        "allowance_spent": ("told", "What you may spend today is spent: all 3 are at work."),
    }
    statuses = dict.fromkeys(refusals, 429) | {"too_many_conversations": 409}
    script = f"""async ([refusal, patience]) => {{
        const told = async ([code, status]) => {{
            const body = JSON.stringify({{ code, detail: "all 3 are at work" }});
            const failed = await refusal.refusal(new Response(body, {{ status }}));
            return [code, [patience.passes(failed) ? "wait" : "told", failed.message]];
        }};
        return Promise.all(Object.entries({statuses}).map(told));
    }}"""
    async with page_cluster.cluster(database, Model()) as cluster:
        page = await browser.open(f"{cluster.doors[0].url}/", 800)
        source = "document.querySelector('script').src.replace('page.js', "
        modules = f"Promise.all([import({source}'refusal.js')), import({source}'patience.js'))])"
        told = await page.js(f"{modules}.then({script})")
        assert {code: tuple(each) for code, each in told} == refusals
        await page.close()


async def test_what_is_not_known_any_more_is_shown_as_what_it_was(
    browser: Browser, database: settings.DatabaseSettings
) -> None:
    async with opened(browser, database, Model()) as (page, cluster):
        seen = cluster.status
        assert isinstance(seen, ClusterStatus)
        assert await page.js("document.getElementById('nodes').innerText.match(/here/g).length") == 2
        cluster.status = errors.DatabaseUnavailable("[Errno 111] Connection refused")
        await page.until("!document.getElementById('connection').hidden")
        told = await page.js("document.getElementById('connection').textContent")
        assert told == "The database does not answer. Replies wait until it does."
        assert await page.js("document.getElementById('where').textContent.startsWith('No answer since ')")
        assert await page.js("document.getElementById('as-of').textContent.startsWith('As of ')")
        assert await page.js("document.getElementById('nodes').innerText.match(/was here/g).length") == 2
        colours = await page.js(
            "['.ok', '.muted'].map((each) => document.querySelector(`#watch ${each}`))"
            ".map((each) => getComputedStyle(each).color)"
        )
        assert colours[0] == colours[1]
        cluster.status = replace(seen, nodes=tuple(replace(each, votes=None) for each in seen.nodes[:1]))
        await page.until("document.getElementById('connection').hidden")
        assert "1 of 3 nodes" in await page.js("document.getElementById('where').textContent")
        assert "no vote" not in await page.js("document.getElementById('nodes').innerText")
        for door in cluster.doors:
            await door.close()
        await page.until("document.getElementById('connection').textContent.startsWith('No node answers.')")
        assert await page.js("document.querySelector('#nodes .ok').textContent") == "was here"


async def test_rounds_the_character_and_every_instance_are_shown_as_they_change(
    browser: Browser, database: settings.DatabaseSettings
) -> None:
    async with opened(browser, database, Model()) as (page, cluster):
        await sign_in(page, "operator")
        await start(page, "")
        here = ConversationId(uuid.UUID((await page.js("location.hash"))[1:]))
        scores = quantise_scores([0.9, *[0.5] * 14, None])
        await cluster.doors[0].node.writer.submit(vectors.RecordScore(here, 1, scores, "scorer-1"))
        cluster.round()
        await page.until("document.querySelector('#rounds').innerText.includes('block 2 committed')")
        await page.until("document.querySelector('#radar path.state')")
        await page.tab_to("summary")
        await page.press("Enter")
        shown = await page.js("document.querySelector('#axes tr').innerText.split(/\\s+/)")
        assert shown == ["honesty", "0.90", "–", "0.90"]
        assert "15 axes. Highest: honesty 0.90" in await page.js(
            "document.getElementById('radar').ariaLabel"
        )
        await page.until("document.querySelector('#instances').innerText.includes('node-1')")
        cluster.round(committed=False, reason="no quorum")
        await page.until("document.querySelector('#rounds').innerText.includes('failed: no quorum')")
        assert page.complaints == []


async def test_a_phone_shows_one_part_at_a_time(
    browser: Browser, database: settings.DatabaseSettings
) -> None:
    async with opened(browser, database, Model(), 320) as (page, _):
        await sign_in(page)
        await page.until("document.body.dataset.view === 'list'")
        await start(page, "Lighthouses")
        for shows, there, away in (
            ("list", "list", "talk"),
            ("watch", "watch", "list"),
            ("talk", "talk", "watch"),
        ):
            await page.tab_to(f"[data-shows={shows}]")
            await page.press("Enter")
            assert await page.js(f"document.getElementById('{there}').checkVisibility()")
            assert not await page.js(f"document.getElementById('{away}').checkVisibility()")
        assert page.complaints == []


LONG = "A title that is as long as it may be, and ends in a word without a break: " + "unbroken" * 15
ARABIC = "مرحبا، كيف حالك مع English في الوسط؟"
SCREENS = {"phone": (320, 640), "iPhone": (390, 844), "twice as large": (720, 450), "desk": (1440, 900)}
STICKS_OUT = """
    [...document.querySelectorAll('main *, .top *')].filter((each) => each.checkVisibility())
        .map((each) => [each, each.getBoundingClientRect()])
        .filter(([each, box]) => box.right > innerWidth + 1 || box.left < -1)
        .filter(([each]) => !each.closest('.wide, .unseen'))
        .map(([each]) => each.outerHTML.slice(0, 80))
"""
SMALL = """
    [...document.querySelectorAll('button, input, select, textarea')]
        .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 24)
        .map((each) => each.outerHTML)
"""
WIDER = """
    [...document.querySelectorAll('.panel, .top, .card, #words')]
        .filter((each) => each.checkVisibility() && each.scrollWidth > each.clientWidth + 1)
        .map((each) => each.id || each.className)
"""


async def test_a_title_of_200_letters_leaves_everything_within_every_screen(
    browser: Browser, database: settings.DatabaseSettings
) -> None:
    assert len(LONG) > 190
    async with opened(browser, database, Model()) as (page, _):
        await sign_in(page, "operator")
        await start(page, LONG)
        for said in ("unbroken" * 30, ARABIC):
            await say(page, said)
            await settled(page)
        await page.until("document.querySelectorAll('#words .text').length === 4")
        sides = await page.js(
            "[...document.querySelectorAll('#words .mine .text')].map((e) => getComputedStyle(e).direction)"
        )
        assert sides == ["ltr", "rtl"]
        await page.js("document.querySelector('details').open = true")
        await page.until("document.querySelectorAll('#axes tr').length === 16")
        for name, (width, height) in SCREENS.items():
            await page.resize(width, height)
            for part in ("list", "watch", "talk"):
                await page.js(f"document.querySelector('[data-shows={part}]').click()")
                assert await page.js("document.documentElement.scrollWidth") <= width, name
                for wrong in (STICKS_OUT, SMALL, WIDER):
                    assert await page.js(wrong) == [], (name, part)
            send = await page.js("document.getElementById('send').getBoundingClientRect().right")
            assert 0 < send <= width, name
        assert page.complaints == []


async def test_a_screen_reader_finds_a_name_for_everything_it_can_reach(
    browser: Browser, database: settings.DatabaseSettings
) -> None:
    async with opened(browser, database, Model()) as (page, _):
        await sign_in(page, "operator")
        await start(page, "Lighthouses")
        await say(page, "Hello?")
        await settled(page)
        tree = (await page.send("Accessibility.getFullAXTree"))["nodes"]
        seen = [each for each in tree if not each["ignored"]]
        nameless = [
            each["role"]["value"]
            for each in seen
            if each["role"]["value"]
            in {"button", "textbox", "combobox", "link", "img", "log", "dialog", "navigation"}
            and not each.get("name", {}).get("value")
        ]
        assert nameless == []
        roles = [each["role"]["value"] for each in seen]
        assert roles.count("main") == roles.count("banner") == roles.count("log") == 1
        headings = [each["name"]["value"] for each in seen if each["role"]["value"] == "heading"]
        assert headings[0] == "CCN"
        assert {"Conversations", "Lighthouses", "Character", "Drift per instance", "Nodes", "Rounds"} <= {
            *headings
        }


async def test_opening_the_page_moves_nothing_that_was_there(
    browser: Browser, database: settings.DatabaseSettings
) -> None:
    async with opened(browser, database, Model()) as (page, cluster):
        observed = json.dumps({"type": "layout-shift", "buffered": True})
        await page.js(
            "window.moved = 0; new PerformanceObserver((list) => { for (const each of list.getEntries()) "
            f"window.moved += each.value; }}).observe({observed}); 0"
        )
        cluster.round()
        await page.until("document.querySelectorAll('#rounds li').length === 2")
        assert await page.js("window.moved") < 0.02


async def test_a_conversation_without_a_title_is_listed_by_how_it_began(
    browser: Browser, database: settings.DatabaseSettings
) -> None:
    async with opened(browser, database, Model()) as (page, _):
        await sign_in(page)
        assert not await page.js("document.getElementById('character').checkVisibility()"), (
            "there is but one"
        )
        await start(page, "")
        await say(page, "What do lighthouses\nlook like from the sea?")
        await settled(page)
        await page.reload()
        await page.until("document.querySelector('#conversations .name')")
        shown = await page.js("document.querySelector('#conversations .name').textContent")
        assert shown == "What do lighthouses look like from the sea?"
        assert page.complaints == []


async def test_a_start_that_takes_long_and_a_reply_that_fails_say_why_and_it_can_be_tried_again(
    browser: Browser, database: settings.DatabaseSettings
) -> None:
    model = Model(trouble=CallRetry(2, 5, 4.0, "network"), asked=asyncio.Event())
    async with opened(browser, database, model) as (page, _):
        await sign_in(page)
        await page.until("document.querySelector('#character option')")
        await page.tab_to("#start [type=submit]")
        await page.press("Enter")
        await page.until(
            "document.getElementById('start-note').textContent.includes('Trying again, 2 of 5.')"
        )
        assert model.asked is not None
        model.trouble = None
        model.asked.set()
        await page.until("!document.getElementById('message').disabled")
        assert await page.js("document.getElementById('start-note').textContent") == ""
        model.unheard = errors.ModelRefused("the plate is too long for this model")
        await say(page, "Hello?")
        await page.until("document.querySelector('.word.failed .note')?.textContent")
        told = await page.js("document.querySelector('.word.failed .note').textContent")
        assert told == (
            "There is no reply. The language model did not take it: the plate is too long for this model."
        )
        assert not await page.js("document.querySelector('.word.failed .text').checkVisibility()")
        model.unheard = None
        await page.tab_to(".retry")
        await page.press("Enter")
        await page.until(
            "[...document.querySelectorAll('#words .text')].at(-1).textContent === 'Well, I am here.'"
        )
        assert await words(page) == ["Hello?", "", "Hello?", REPLY]
        assert not await page.js("document.querySelector('.retry')")
        assert page.complaints == []
