"""`ccn plate`: check a file, import it, look at versions and at what changed between them.

Reading needs only the database. An import is asked of the cluster: a node reads the plate again, numbers
the version and seals it in the record with the name of who asked. No plate is changed in any other way.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ccn.cli.output import printing, timestamps
from ccn.cli.reach import ask, target
from ccn.cli.reach.target import By, Data, Database, Json, Url

if TYPE_CHECKING:
    from ccn.core.ids import CharacterId
    from ccn.core.prompts.plate import Plate
    from ccn.store.connection.pool import Pool
    from ccn.store.conversations import characters

app = typer.Typer(help="Plates: what a character is.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="A markdown file.", show_default=False)]
OfCharacter = Annotated[
    str, typer.Option("--character", help="Whose plate; needed if there are several.", show_default=False)
]
_REFERENCE = re.compile(r"(?:(?P<character>[a-z0-9-]+)@)?(?P<version>\d{1,9})")


@app.command("check")
def check(file: File, as_json: Json = False) -> None:
    """Say what a plate says, or what is wrong with it. Needs no cluster."""
    content = _content(file)
    read = _read(content)
    found = _summary(read, content)
    printing.say(_json(found) if as_json else _lines(found))
    _warn(read.model)


@app.command("import")
def import_(
    file: File,
    *,
    character: Annotated[
        str,
        typer.Option("--character", help="Its id; made from the name if not given.", show_default=False),
    ] = "",
    by: By = "operator",
    database_url: Url = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make a plate the newest version of its character's; the newest version again changes nothing."""
    from ccn.core import ids  # noqa: PLC0415 - start-up must be quick
    from ccn.node.operators import execution  # noqa: PLC0415

    content = _content(file)
    read = _read(content)
    name = read.name
    _warn(read.model)
    wanted = ids.name(character or _slug(name), "character")
    body = {"character": wanted, "name": name, "content": content}
    at = target.database(database_url, data, quiet=as_json)
    made = ask.ask(execution.PLATE, body, by, at, quiet=as_json)
    printing.say(_json(made) if as_json else f"{made['character']} is at version {made['version']}")


@app.command("list")
def listed(database_url: Url = "", data: Data = None, as_json: Json = False) -> None:
    """All characters and the newest version of each one's plate."""
    from ccn.store.conversations import characters  # noqa: PLC0415

    for each in ask.run(characters.every, target.database(database_url, data, quiet=as_json)):
        if as_json:
            fields = {"character": each.id, "name": each.name, "version": each.version}
            printing.say(_json({**fields, "at": each.imported_at.isoformat(), "by": each.imported_by}))
        else:
            at = timestamps.shown(each.imported_at)
            by, name = printing.printable(each.imported_by), printing.printable(each.name)
            printing.say(f"{each.id:<20} version {each.version:>3}  {at}  {by:<12} {name}")


@app.command("show")
def show(
    character: Annotated[
        str,
        typer.Argument(help="Which one, if there are several; or CHARACTER@VERSION.", show_default=False),
    ] = "",
    *,
    version: Annotated[
        int | None, typer.Option(min=1, help="The newest if not given.", show_default=False)
    ] = None,
    database_url: Url = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Print a plate as it was imported."""
    if (named := _REFERENCE.fullmatch(character)) and named["character"] and version is None:
        character, version = named["character"], int(named["version"])
    at = target.database(database_url, data, quiet=True)  # what is printed is the plate and nothing else
    found = ask.run(lambda pool: _stored(pool, character, version), at)
    if not as_json:
        printing.say(found.content, nl=not found.content.endswith("\n"))
        return
    told = {"character": found.character, "version": found.version, "hash": found.hash.hex()}
    told |= {"at": found.imported_at.isoformat(), "by": found.imported_by}
    printing.say(_json({**told, "content": found.content}))


@app.command("diff")
def diff(
    old: Annotated[
        str, typer.Argument(help="A version, CHARACTER@VERSION, or a file.", show_default=False)
    ],
    new: Annotated[str, typer.Argument(help="The same; the newest version if not given.")] = "",
    *,
    character: OfCharacter = "",
    database_url: Url = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """What changed from one plate to another, as a unified diff; nothing if they are the same."""
    import difflib  # noqa: PLC0415

    (first, before), (second, after) = _both(
        old, new, character, lambda: target.database(database_url, data, quiet=as_json)
    )
    changed = list(
        difflib.unified_diff(before.splitlines(), after.splitlines(), first, second, lineterm="")
    )
    if as_json:
        printing.say(_json({"old": first, "new": second, "same": before == after, "diff": changed}))
    elif changed:
        printing.say("\n".join(changed))


def _both(
    old: str, new: str, character: str, database: Callable[[], Database]
) -> tuple[tuple[str, str], tuple[str, str]]:
    """What the two are called, and what they say; two files need no cluster."""
    first, second = _place(old, character), _place(new, character)
    if isinstance(first, Path) and isinstance(second, Path):
        return (old, _content(first)), (new, _content(second))

    async def read(pool: Pool) -> tuple[tuple[str, str], tuple[str, str]]:
        return await _named(pool, first), await _named(pool, second)

    return ask.run(read, database())


def _place(reference: str, character: str) -> Path | tuple[str, int | None]:
    """A file, or a character and a version of its plate."""
    from ccn import errors  # noqa: PLC0415

    if reference and Path(reference).is_file():
        return Path(reference)
    if not reference:
        return character, None
    if not (parts := _REFERENCE.fullmatch(reference)):
        raise errors.InputInvalid(f"{reference} is no file, and not a version like 2 or wren@2 either")
    return parts["character"] or character, int(parts["version"])


async def _named(pool: Pool, place: Path | tuple[str, int | None]) -> tuple[str, str]:
    if isinstance(place, Path):
        return str(place), _content(place)
    found = await _stored(pool, *place)
    return f"{found.character}@{found.version}", found.content


async def _stored(pool: Pool, character: str, version: int | None) -> characters.Plate:
    from ccn.store.conversations import characters  # noqa: PLC0415

    return await characters.plate(pool, await _whom(pool, character), version)


async def _whom(pool: Pool, character: str) -> CharacterId:
    """The character that is named, or the only one there is."""
    from ccn import errors  # noqa: PLC0415
    from ccn.core.ids import CharacterId  # noqa: PLC0415
    from ccn.store.conversations import characters  # noqa: PLC0415

    if character:
        return CharacterId(character)
    match [each.id for each in await characters.every(pool)]:
        case [only]:
            return only
        case []:
            raise errors.NotFound("there is no character yet: import a plate with `ccn plate import FILE`")
        case several:
            raise errors.InputInvalid(f"there are several characters, name one: {', '.join(several)}")


def _read(content: str) -> Plate:
    from ccn.core.prompts import plate, prompt  # noqa: PLC0415

    found = plate.read(content)
    prompt.room(found, prompt.Limits("any"))
    return found


def _content(file: Path) -> str:
    from ccn import errors  # noqa: PLC0415
    from ccn.core.prompts.plate import SIZE_LIMIT  # noqa: PLC0415

    try:
        with file.open("rb") as opened:
            return opened.read(SIZE_LIMIT + 1).decode()  # one byte more is refused by its size
    except OSError as unreadable:
        raise errors.InputInvalid(f"{file} cannot be read: {unreadable.strerror}") from unreadable
    except UnicodeDecodeError as foreign:
        line = foreign.object[: foreign.start].count(b"\n") + 1
        raise errors.PlateInvalid(f"line {line}: {file} is not UTF-8") from foreign


def _warn(model: str | None) -> None:
    """Of a model without a price, as far as can be told here: a node may know more prices."""
    from ccn import errors, settings  # noqa: PLC0415 - start-up must be quick
    from ccn.core.calls import price  # noqa: PLC0415

    if model is None:
        return
    prices = {name: each.exact() for name, each in settings.load().claude.prices.items()}
    try:
        price.of(prices, model)
    except errors.ModelRefused as unpriced:
        printing.say(f"warning: {unpriced}", err=True)


def _summary(found: Plate, content: str) -> dict[str, object]:
    from ccn.core.axes import AXES  # noqa: PLC0415
    from ccn.core.calls import tokens  # noqa: PLC0415
    from ccn.core.prompts import interview  # noqa: PLC0415

    asked = interview.of(found, "them")
    scores = found.baseline.scores() if found.baseline else []
    return {
        "name": found.name,
        "character": _slug(found.name),
        "model": found.model,
        "baseline": {axis: score for axis, score in zip(AXES, scores, strict=False) if score is not None},
        "questions": [each.asks for each in asked.questions],
        "pass_mark": asked.passes,
        "bytes": len(content.encode()),
        "tokens": tokens.estimate(found.body),
    }


def _slug(name: str) -> str:
    """An id made from a name; what has no Latin letters needs --character."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:63].strip("-")


def _lines(found: dict[str, object]) -> str:
    def told(value: object) -> str:
        match value:
            case dict():
                return ", ".join(f"{key} {each:g}" for key, each in value.items()) or "-"
            case list():
                return "".join(f"\n  {each}" for each in value)
            case _:
                return "-" if value is None else str(value)

    return "\n".join(f"{name:<12} {told(value)}" for name, value in found.items())


def _json(value: object) -> str:
    import json  # noqa: PLC0415

    return json.dumps(value, ensure_ascii=False)
