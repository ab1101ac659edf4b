"""`ccn plate`, and that a plate is what an operator made it: nothing else in the system can change one."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from ccn import cli, errors, settings
from ccn.core.ids import CharacterId, NodeId
from ccn.core.prompts import interview, plate
from ccn.node.operators import execution
from ccn.node.upkeep import example
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters
from ccn.store.writing.writer import Writer

WREN = plate.parse_plate(example.read_example())
MIRA = "+++\nname = 'Míra Vale'\n+++\n# Mira\nKeeps her word.\n"


@asynccontextmanager
async def node(
    database: settings.DatabaseSettings, name: str = "node-1", *, operates: bool = True
) -> AsyncIterator[tuple[Pool, Writer]]:
    """What a node has to import plates with, answering requests until the block ends."""
    async with AsyncExitStack() as stack:
        stack.enter_context(capture_logs())  # the command's standard output is this process's
        connections = await stack.enter_async_context(pool.open(database, name))
        writer, stop = Writer(database, NodeId(name), lambda: datetime.now(UTC)), asyncio.Event()
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        tasks.create_task(writer.run())
        if operates:
            tasks.create_task(_operate(connections, writer, stop))
        try:
            yield connections, writer
        finally:
            stop.set()
            writer.stop()


async def _operate(connections: Pool, writer: Writer, stop: asyncio.Event) -> None:
    work = execution.node_handlers(connections, writer)
    while not stop.is_set():
        if not await execution.run_oldest(connections, writer, work):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.05)


@pytest.fixture
def url(database: settings.DatabaseSettings) -> str:
    return database.url.get_secret_value()


@pytest.fixture
def mira(tmp_path: Path) -> Path:
    file = tmp_path / "a plate.md"
    file.write_text(MIRA, encoding="utf-8")
    return file


def ccn(*arguments: str) -> Result:
    ended = CliRunner().invoke(cli.app, ["plate", *arguments])
    if ended.exception and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended


async def ccn_(*arguments: str) -> str:
    """The same beside a running node."""
    return (await asyncio.to_thread(ccn, *arguments)).stdout


def test_a_plate_is_checked_without_a_cluster(mira: Path) -> None:
    told = json.loads(ccn("check", str(mira), "--json").stdout)
    assert (told["name"], told["character"], told["pass_mark"]) == ("Míra Vale", "mira-vale", 5)
    assert told["questions"] == [question.asks for question in interview.QUESTIONS]
    assert "mira-vale" in ccn("check", str(mira)).stdout


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"---\nname: x\n---\n", "line 1: "), (b"# Mira\n\xff", "line 2: .* UTF-8"), (b"", "says nothing")],
)
def test_a_bad_plate_is_refused_with_its_line(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "bad.md"
    file.write_bytes(content)
    with pytest.raises(errors.PlateInvalid, match=told):
        ccn("check", str(file))


def test_a_model_without_a_price_is_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "nemo.md"
    file.write_text('+++\nname = "Nemo"\nmodel = "nautilus-1"\n+++\nIs nobody.\n', encoding="utf-8")
    told = ccn("check", str(file))
    assert told.exit_code == 0
    assert told.stderr == "warning: CCN_CLAUDE_PRICES has no price for nautilus-1, so it is not asked\n"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.InputInvalid, match=r"nowhere\.md cannot be read"):
        ccn("check", str(tmp_path / "nowhere.md"))


async def test_a_plate_is_imported_by_a_node_and_shown_as_it_was(
    database: settings.DatabaseSettings, url: str, mira: Path
) -> None:
    async with node(database):
        at = ("--database-url", url)
        made = json.loads(await ccn_("import", str(mira), "--by", "olga", "--json", *at))
        assert (made["character"], made["version"]) == ("mira-vale", 1)
        assert await ccn_("show", *at) == MIRA
        again = json.loads(await ccn_("import", str(mira), "--json", *at))
        assert again["version"] == 1
        mira.write_text(MIRA.replace("her word", "all her words"), encoding="utf-8")
        changed = await ccn_("diff", "1", str(mira), *at)
        assert "\n-Keeps her word.\n+Keeps all her words." in changed
        await ccn_("import", str(mira), "--json", *at)
        assert await ccn_("diff", "mira-vale@2", str(mira), *at) == ""
        assert json.loads(await ccn_("diff", "1", "--json", *at))["new"] == "mira-vale@2"
        assert await ccn_("show", "--version", "1", *at) == MIRA
        assert await ccn_("show", "mira-vale@1", *at) == MIRA
        for unknown in ("mira-vale@7", "nobody"):
            with pytest.raises(
                errors.NotFound, match=r"there is no (version 7 of mira-vale|character nobody)"
            ):
                await ccn_("show", unknown, *at)
        [line] = [json.loads(line) for line in (await ccn_("list", "--json", *at)).splitlines()]
        assert (line["character"], line["name"], line["version"]) == ("mira-vale", "Míra Vale", 2)
        first = json.loads(await ccn_("show", "mira-vale", "--version", "1", "--json", *at))
        assert first["by"] == "olga"


async def test_a_node_reads_a_plate_again_before_it_imports_it(database: settings.DatabaseSettings) -> None:
    async with node(database, operates=False) as (connections, writer):
        work = execution.node_handlers(connections, writer)[execution.PLATE]
        with pytest.raises(errors.PlateInvalid, match="line 1"):
            await work({"character": "mira", "name": "Mira", "content": "---\n# Mira"}, "olga")
        assert await characters.list_characters(connections) == []


async def test_of_several_characters_one_has_to_be_named(
    database: settings.DatabaseSettings, url: str
) -> None:
    async with node(database) as (connections, writer):
        with pytest.raises(errors.NotFound, match="no character yet"):
            await ccn_("show", "--database-url", url)
        for each in ("ada", "bob"):
            await characters.import_plate(connections, writer, CharacterId(each), each, MIRA, "test")
        with pytest.raises(errors.InputInvalid, match="name one: ada, bob"):
            await ccn_("show", "--database-url", url)
        assert await ccn_("show", "bob", "--database-url", url) == MIRA
        with pytest.raises(errors.NotFound, match="there is no version 9 of bob"):
            await ccn_("show", "bob", "--version", "9", "--database-url", url)
        with pytest.raises(errors.InputInvalid, match="not a file, and not a version"):
            await ccn_("diff", "nowhere.md", "--character", "bob", "--database-url", url)


# The example


def test_the_example_is_a_good_plate() -> None:
    assert (WREN.name, len(WREN.questions), WREN.passes) == ("Wren", 6, 5)
    assert "You are an AI" in WREN.body
    assert [q.asks for q in WREN.questions] == [q.asks for q in interview.QUESTIONS]


async def test_of_three_nodes_that_start_at_once_one_imports_the_example(
    database: settings.DatabaseSettings,
) -> None:
    async with AsyncExitStack() as stack:
        here = [
            await stack.enter_async_context(node(database, f"node-{n}", operates=False)) for n in (1, 2, 3)
        ]
        made = await asyncio.gather(*(example.import_example(*each) for each in here))
        assert sorted(each is not None for each in made) == [False, False, True]
        assert await example.import_example(*here[0]) is None
        [wren] = await characters.list_characters(here[0][0])
        assert (wren.id, wren.name, wren.version) == ("wren", "Wren", 1)


async def test_where_there_is_a_character_the_example_stays_out(
    database: settings.DatabaseSettings,
) -> None:
    async with node(database, operates=False) as (connections, writer):
        await characters.import_plate(connections, writer, CharacterId("ada"), "Ada", MIRA, "test")
        assert await example.import_example(connections, writer) is None
        assert [each.id for each in await characters.list_characters(connections)] == ["ada"]


# Nobody else


def test_plates_are_imported_for_operators_and_by_nobody_else() -> None:
    callers, package = set(), Path(cli.__file__).parents[1]
    for file in package.rglob("*.py"):
        names = {
            each.attr if isinstance(each, ast.Attribute) else each.id
            for each in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(each, ast.Attribute | ast.Name)
        }
        if names & {"import_plate", "_Import"} or "INTO plates" in file.read_text(encoding="utf-8"):
            callers.add(str(file.relative_to(package)))
    assert callers == {
        "store/conversations/characters.py",
        "node/operators/execution.py",
        "node/upkeep/example.py",
    }


_VERSION = (
    "INSERT INTO plates SELECT character_id, {}, sha256('{}'), 'else', 'mallory', now(), {} FROM plates"
)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE plates SET content = 'else', hash = sha256('else')",
        "DELETE FROM plates",
        "TRUNCATE plates CASCADE",
        _VERSION.format(2, "else", "'nobody', 9"),
        _VERSION.format(2, "other", "leaf_node, leaf_number"),
        _VERSION.format(7, "else", "leaf_node, leaf_number"),
    ],
    ids=["edit", "delete", "truncate", "without a leaf", "another hash", "a gap"],
)
async def test_the_database_refuses_to_change_a_plate(
    database: settings.DatabaseSettings, sql: str
) -> None:
    async with node(database, operates=False) as (connections, writer):
        made = await characters.import_plate(
            connections, writer, CharacterId(f"c-{secrets.token_hex(4)}"), "C", MIRA, "test"
        )
        with pytest.raises(errors.CCNError):
            await connections.rows(sql)
        assert await characters.list_plates(connections, made.character) == [made]
