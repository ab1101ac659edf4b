"""A real browser for the tests of the page: Chromium without a screen, told what to do over DevTools.

`.ci/run` installs Debian's where it may. CCN_TEST_BROWSER=required makes it an error to leave it out.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import websockets.asyncio.client

from tests.support import processes

PROGRAM = next(
    filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), ""
)
LEFT_OUT = "" if PROGRAM else "the page in a browser, because there is no chromium"

_OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
    "--no-default-browser-check --disable-background-networking --disable-component-update "
    "--remote-debugging-port=0 --lang=en-US"
)
_WITHIN_S = 60.0
_KEYS = {"Enter": ("Enter", 13, "\r"), "Tab": ("Tab", 9, ""), "Escape": ("Escape", 27, "")}


@dataclass
class Browser:
    """One browser process; its pages share nothing."""

    socket: websockets.asyncio.client.ClientConnection
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    asked: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    pages: dict[str, Page] = field(default_factory=dict)

    async def send(self, method: str, session: str = "", **parameters: object) -> dict[str, Any]:
        """A command, and what came of it."""
        number = next(self.numbers)
        self.asked[number] = asyncio.get_running_loop().create_future()
        told = {"id": number, "method": method, "params": parameters}
        await self.socket.send(json.dumps(told | ({"sessionId": session} if session else {})))
        try:
            async with asyncio.timeout(_WITHIN_S):
                return await self.asked[number]
        finally:
            del self.asked[number]

    async def listen(self) -> None:
        """Sort what comes: answers to those who asked, events to their pages."""
        async for line in self.socket:
            told = json.loads(line)
            if (waiting := self.asked.get(told.get("id", 0))) is not None:
                if "error" in told:
                    waiting.set_exception(AssertionError(told["error"]["message"]))
                else:
                    waiting.set_result(told["result"])
            elif (page := self.pages.get(told.get("sessionId", ""))) is not None:
                page.happened(told["method"], told["params"])

    async def open(self, url: str, width: int = 1280, height: int = 800, **features: str) -> Page:
        """A page in a window of this size; `features` are media features, with `_` for `-`."""
        context = (await self.send("Target.createBrowserContext"))["browserContextId"]
        target = await self.send("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = self.pages[attached["sessionId"]] = Page(self, attached["sessionId"], context)
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            await page.send(f"{domain}.enable")
        await page.resize(width, height)
        wanted = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        await page.send("Emulation.setEmulatedMedia", features=wanted)
        await page.go(url)
        return page


@dataclass
class Page:
    """One page, as somebody with a keyboard has it."""

    browser: Browser
    session: str
    context: str
    complaints: list[str] = field(default_factory=list)
    """Whatever the console shows as an error, failed requests included."""
    loaded: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, method: str, **parameters: object) -> dict[str, Any]:
        return await self.browser.send(method, self.session, **parameters)

    def happened(self, method: str, told: dict[str, Any]) -> None:
        match method:
            case "Page.loadEventFired":
                self.loaded.set()
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(told["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if told["type"] in {"error", "warning", "assert"}:
                self.complaints.append(json.dumps(told["args"]))
            case "Log.entryAdded" if told["entry"]["level"] in {"error", "warning"}:
                self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")

    async def close(self) -> None:
        del self.browser.pages[self.session]
        await self.browser.send("Target.disposeBrowserContext", browserContextId=self.context)

    async def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.send("Emulation.setDeviceMetricsOverride", **size)

    async def go(self, url: str) -> None:
        self.loaded.clear()
        await self.send("Page.navigate", url=url)
        async with asyncio.timeout(_WITHIN_S):
            await self.loaded.wait()

    async def reload(self) -> None:
        self.loaded.clear()
        await self.send("Page.reload")
        async with asyncio.timeout(_WITHIN_S):
            await self.loaded.wait()

    async def js(self, expression: str) -> Any:
        """What an expression of JavaScript comes to."""
        told = await self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def until(self, expression: str, within_s: float = _WITHIN_S) -> None:
        """Wait until an expression is true."""
        try:
            async with asyncio.timeout(within_s):
                while not await self.js(f"Boolean({expression})"):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            shown = await self.js("document.body.innerText")
            raise AssertionError(f"never true: {expression}\n{self.complaints}\n{shown}") from None

    async def type(self, text: str) -> None:
        """Into whatever has the focus."""
        await self.send("Input.insertText", text=text)

    async def press(self, key: str, *, shift: bool = False) -> None:
        name, number, text = _KEYS[key]
        about = {"key": name, "code": name, "windowsVirtualKeyCode": number, "modifiers": 8 if shift else 0}
        await self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **about)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    async def tab_to(self, selector: str, within: int = 60) -> None:
        """As somebody gets there without a mouse."""
        for _ in range(within):
            if await self.js(f"document.activeElement?.matches({json.dumps(selector)}) ?? false"):
                return
            await self.press("Tab")
        raise AssertionError(f"no way to {selector} by keyboard")

    async def screenshot(self, file: Path) -> None:
        told = await self.send("Page.captureScreenshot", format="png")
        await asyncio.to_thread(file.write_bytes, base64.b64decode(told["data"]))


@asynccontextmanager
async def running() -> AsyncIterator[Browser]:
    """A browser with a profile of its own."""
    with tempfile.TemporaryDirectory(prefix="ccn-browser-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *_OPTIONS.split(),
            f"--user-data-dir={profile}",
            "about:blank",
            stderr=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # it has children, which end with it
            preexec_fn=processes.tied(),
        )
        assert process.stderr is not None
        draining: asyncio.Task[bytes] | None = None
        try:
            async with asyncio.timeout(_WITHIN_S):
                line = b""
                while b"DevTools listening on " not in line:
                    line = await process.stderr.readline()
                    assert line, "the browser ended before it listened"
            draining = asyncio.create_task(process.stderr.read())
            address = line.decode().split("listening on ")[1].strip()
            async with websockets.asyncio.client.connect(
                address, max_size=None, open_timeout=_WITHIN_S, ping_interval=None
            ) as socket:
                browser = Browser(socket)
                listening = asyncio.create_task(browser.listen())
                try:
                    yield browser
                finally:
                    listening.cancel()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            if draining is not None:
                await draining
