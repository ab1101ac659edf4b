"""`ccn plate`: check a file, import it, look at versions and at what changed between them.

Reading needs only the database. An import is asked of the cluster: a node reads the plate again, numbers
the version and seals it in the record with the name of who asked. No plate is changed in any other way.
"""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ccn import errors, settings
from ccn.cli.output import printing, timestamps
from ccn.cli.reach import ask, target
from ccn.cli.reach.target import By, Data, DatabaseTarget, Json, Url
from ccn.core import ids
from ccn.core.axes import AXES
from ccn.core.calls import price, tokens
from ccn.core.ids import CharacterId
from ccn.core.prompts import interview, plate, prompt
from ccn.core.prompts.plate import SIZE_LIMIT, Plate
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters

app = typer.Typer(help="Plates: what a character is.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="A markdown file.", show_default=False)]
OfCharacter = Annotated[
    str, typer.Option("--character", help="Whose plate; needed if there are several.", show_default=False)
]
_REFERENCE = re.compile(r"(?:(?P<character>[a-z0-9-]+)@)?(?P<version>\d{1,9})")


@app.command("check")
def check_plate(file: File, as_json: Json = False) -> None:
    """Say what a plate says, or what is wrong with it. Needs no cluster."""
    content = _read_file(file)
    read = _parse_plate(content)
    found = _summarise_plate(read, content)
    printing.say(_to_json(found) if as_json else _format_summary(found))
    _warn_of_unpriced_model(read.model)


@app.command("import")
def import_plate(
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
    content = _read_file(file)
    read = _parse_plate(content)
    name = read.name
    _warn_of_unpriced_model(read.model)
    wanted = ids.check_name(character or _slug_from_name(name), "character")
    body = {"character": wanted, "name": name, "content": content}
    at = target.find_database(database_url, data, quiet=as_json)
    made = ask.ask_cluster("plate", body, by, at, quiet=as_json)
    printing.say(_to_json(made) if as_json else f"{made['character']} is at version {made['version']}")


@app.command("list")
def list_plates(database_url: Url = "", data: Data = None, as_json: Json = False) -> None:
    """All characters and the newest version of each one's plate."""
    for each in ask.run_on_database(
        characters.list_characters, target.find_database(database_url, data, quiet=as_json)
    ):
        if as_json:
            fields = {"character": each.id, "name": each.name, "version": each.version}
            printing.say(_to_json({**fields, "at": each.imported_at.isoformat(), "by": each.imported_by}))
        else:
            at = timestamps.format_moment(each.imported_at)
            by, name = printing.to_one_line(each.imported_by), printing.to_one_line(each.name)
            printing.say(f"{each.id:<20} version {each.version:>3}  {at}  {by:<12} {name}")


@app.command("show")
def show_plate(
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
    at = target.find_database(
        database_url, data, quiet=True
    )  # what is printed is the plate and nothing else
    found = ask.run_on_database(lambda pool: _load_stored_plate(pool, character, version), at)
    if not as_json:
        printing.say(found.content, nl=not found.content.endswith("\n"))
        return
    told = {"character": found.character, "version": found.version, "hash": found.hash.hex()}
    told |= {"at": found.imported_at.isoformat(), "by": found.imported_by}
    printing.say(_to_json({**told, "content": found.content}))


@app.command("diff")
def diff_plates(
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
    (first, before), (second, after) = _load_both(
        old, new, character, lambda: target.find_database(database_url, data, quiet=as_json)
    )
    changed = list(
        difflib.unified_diff(before.splitlines(), after.splitlines(), first, second, lineterm="")
    )
    if as_json:
        printing.say(_to_json({"old": first, "new": second, "same": before == after, "diff": changed}))
    elif changed:
        printing.say("\n".join(changed))


def _load_both(
    old: str, new: str, character: str, database: Callable[[], DatabaseTarget]
) -> tuple[tuple[str, str], tuple[str, str]]:
    """What the two are called, and what they say; two files need no cluster."""
    first, second = _parse_reference(old, character), _parse_reference(new, character)
    if isinstance(first, Path) and isinstance(second, Path):
        return (old, _read_file(first)), (new, _read_file(second))

    async def load_both_from(pool: Pool) -> tuple[tuple[str, str], tuple[str, str]]:
        return await _load_named(pool, first), await _load_named(pool, second)

    return ask.run_on_database(load_both_from, database())


def _parse_reference(reference: str, character: str) -> Path | tuple[str, int | None]:
    """A file, or a character and a version of its plate."""
    if reference and Path(reference).is_file():
        return Path(reference)
    if not reference:
        return character, None
    if not (parts := _REFERENCE.fullmatch(reference)):
        raise errors.InputInvalid(f"{reference} is no file, and not a version like 2 or wren@2 either")
    return parts["character"] or character, int(parts["version"])


async def _load_named(pool: Pool, place: Path | tuple[str, int | None]) -> tuple[str, str]:
    if isinstance(place, Path):
        return str(place), _read_file(place)
    found = await _load_stored_plate(pool, *place)
    return f"{found.character}@{found.version}", found.content


async def _load_stored_plate(pool: Pool, character: str, version: int | None) -> characters.PlateVersion:
    return await characters.load_plate(pool, await _find_character(pool, character), version)


async def _find_character(pool: Pool, character: str) -> CharacterId:
    """The character that is named, or the only one there is."""
    if character:
        return CharacterId(character)
    match [each.id for each in await characters.list_characters(pool)]:
        case [only]:
            return only
        case []:
            raise errors.NotFound("there is no character yet: import a plate with `ccn plate import FILE`")
        case several:
            raise errors.InputInvalid(f"there are several characters, name one: {', '.join(several)}")


def _parse_plate(content: str) -> Plate:
    found = plate.parse_plate(content)
    prompt.room_for_talk(found, prompt.PromptLimits("any"))
    return found


def _read_file(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(SIZE_LIMIT + 1).decode()  # one byte more is refused by its size
    except OSError as unreadable:
        raise errors.InputInvalid(f"{file} cannot be read: {unreadable.strerror}") from unreadable
    except UnicodeDecodeError as foreign:
        line = foreign.object[: foreign.start].count(b"\n") + 1
        raise errors.PlateInvalid(f"line {line}: {file} is not UTF-8") from foreign


def _warn_of_unpriced_model(model: str | None) -> None:
    """Of a model without a price, as far as can be told here: a node may know more prices."""
    if model is None:
        return
    prices = {name: each.to_microdollars() for name, each in settings.load().claude.prices.items()}
    try:
        price.price_of(prices, model)
    except errors.ModelRefused as unpriced:
        printing.say(f"warning: {unpriced}", err=True)


def _summarise_plate(found: Plate, content: str) -> dict[str, object]:
    asked = interview.make_interview(found, "them")
    scores = found.baseline.scores() if found.baseline else []
    return {
        "name": found.name,
        "character": _slug_from_name(found.name),
        "model": found.model,
        "baseline": {axis: score for axis, score in zip(AXES, scores, strict=False) if score is not None},
        "questions": [each.asks for each in asked.questions],
        "pass_mark": asked.passes,
        "bytes": len(content.encode()),
        "tokens": tokens.estimate_tokens(found.body),
    }


def _slug_from_name(name: str) -> str:
    """An id made from a name; what has no Latin letters needs --character."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:63].strip("-")


def _format_summary(found: dict[str, object]) -> str:
    def format_value(value: object) -> str:
        match value:
            case dict():
                return ", ".join(f"{key} {each:g}" for key, each in value.items()) or "-"
            case list():
                return "".join(f"\n  {each}" for each in value)
            case _:
                return "-" if value is None else str(value)

    return "\n".join(f"{name:<12} {format_value(value)}" for name, value in found.items())


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
