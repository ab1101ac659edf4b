"""`ccn plate`: checks a plate, imports it, and shows versions and what changed between them.

An import is a request to the cluster: a node reads the plate again, numbers the version and seals it in
the record with the name of who asked. No plate is changed in any other way.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from pathlib import Path
from typing import Annotated

import typer

from ccn import errors, settings
from ccn.cli.output import printing, timestamps
from ccn.cli.reach import ask
from ccn.cli.reach.fields import Fields
from ccn.cli.reach.options import ClusterOptions, DatabaseOptions, add_options
from ccn.cli.reach.target import By, Json
from ccn.core import ids
from ccn.core.axes import AXES
from ccn.core.calls import price, tokens
from ccn.core.ids import CharacterId
from ccn.core.prompts import interview, plate, prompt
from ccn.core.prompts.plate import SIZE_LIMIT, Plate
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters

app = typer.Typer(help="Plates: the files that say who a character is.", no_args_is_help=True)

PlateFile = Annotated[Path, typer.Argument(help="The plate, a markdown file.", show_default=False)]
_REFERENCE = re.compile(r"(?:(?P<character>[a-z0-9-]+)@)?(?P<version>\d{1,9})")


@app.command("check")
def check_plate(file: PlateFile, as_json: Json = False) -> None:
    """Summarise a plate, or say what is wrong with it. This command needs no cluster."""
    content = _read_file(file)
    parsed = _parse_plate(content)
    summary = _summarise_plate(parsed, content)
    printing.say(printing.to_json(summary) if as_json else _format_summary(summary))
    _warn_of_unpriced_model(parsed.model)


@app.command("import")
@add_options(ClusterOptions)
def import_plate(
    reach: ClusterOptions,
    file: PlateFile,
    character: Annotated[
        str,
        typer.Option(
            "--character",
            help="The id of the character; without it, the id is made from the name in the plate.",
            show_default=False,
        ),
    ] = "",
    by: By = "operator",
) -> None:
    """Import a plate as the newest version of its character. An unchanged plate makes no new version."""
    content = _read_file(file)
    parsed = _parse_plate(content)
    _warn_of_unpriced_model(parsed.model)
    character_id = ids.check_name(character or _slug_from_name(parsed.name), "character")
    body = {"character": character_id, "name": parsed.name, "content": content}
    with reach.open_source() as cluster:
        made = cluster.ask("plate", body, by)
    if reach.as_json:
        printing.say_json(made)
    else:
        printing.say(f"{made['character']} is at version {made['version']}")


@app.command("list")
@add_options(ClusterOptions)
def list_plates(reach: ClusterOptions) -> None:
    """List all characters with the newest version of each plate.

    Over --endpoint the list lacks when and by whom a plate was imported: nodes do not tell that.
    """
    with reach.open_source() as cluster:
        plates = cluster.list_plates()
    none = "there is no character yet: import a plate with `ccn plate import FILE`"
    printing.say_entries(plates, _format_entry, as_json=reach.as_json, if_none=none)


@app.command("show")
@add_options(DatabaseOptions)
def show_plate(
    reach: DatabaseOptions,
    character: Annotated[
        str,
        typer.Argument(
            help="The character, or CHARACTER@VERSION; needed if there are several.", show_default=False
        ),
    ] = "",
    version: Annotated[
        int | None,
        typer.Option(min=1, help="The version; the newest if left out.", show_default=False),
    ] = None,
) -> None:
    """Print a plate as it was imported."""
    if (named := _REFERENCE.fullmatch(character)) and named["character"] and version is None:
        character, version = named["character"], int(named["version"])
    at = reach.find_database(quiet=True)  # so that the plate is all that is printed
    stored = ask.run_on_database(lambda pool: _load_stored_plate(pool, character, version), at)
    if not reach.as_json:
        printing.say(stored.content, nl=not stored.content.endswith("\n"))
        return
    fields = {"character": stored.character, "version": stored.version, "hash": stored.hash.hex()}
    fields |= {"at": stored.imported_at.isoformat(), "by": stored.imported_by}
    printing.say_json(fields | {"content": stored.content})


@app.command("diff")
@add_options(DatabaseOptions)
def diff_plates(
    reach: DatabaseOptions,
    old: Annotated[
        str, typer.Argument(help="A version, CHARACTER@VERSION, or a file.", show_default=False)
    ],
    new: Annotated[
        str,
        typer.Argument(help="Another version or file; the newest version if left out.", show_default=False),
    ] = "",
    character: Annotated[
        str,
        typer.Option("--character", help="The character; needed if there are several.", show_default=False),
    ] = "",
) -> None:
    """Print what changed from one plate to another, as a unified diff. Two files need no cluster."""
    (first, before), (second, after) = _load_both(old, new, character, reach)
    changed = list(
        difflib.unified_diff(before.splitlines(), after.splitlines(), first, second, lineterm="")
    )
    if reach.as_json:
        printing.say_json({"old": first, "new": second, "same": before == after, "diff": changed})
    elif changed:
        printing.say("\n".join(changed))


def _format_entry(entry: Fields) -> str:
    at = "" if entry["at"] is None else f"{timestamps.format_iso_moment(entry['at'])}  "
    by = "" if entry["by"] is None else f"{printing.to_one_line(entry['by']):<12} "
    name = printing.to_one_line(entry["name"])
    return f"{entry['character']:<20} version {entry['version']:>3}  {at}{by}{name}"


def _load_both(
    old: str, new: str, character: str, reach: DatabaseOptions
) -> tuple[tuple[str, str], tuple[str, str]]:
    """Load two plates, each with what it is called; two files need no cluster."""
    first, second = _parse_reference(old, character), _parse_reference(new, character)
    if isinstance(first, Path) and isinstance(second, Path):
        return (old, _read_file(first)), (new, _read_file(second))

    async def load_both_from(pool: Pool) -> tuple[tuple[str, str], tuple[str, str]]:
        return await _load_named(pool, first), await _load_named(pool, second)

    return reach.run(load_both_from)


def _parse_reference(reference: str, character: str) -> Path | tuple[str, int | None]:
    """Read what is named: a file, or a character and a version of its plate."""
    if reference and Path(reference).is_file():
        return Path(reference)
    if not reference:
        return character, None
    if not (parts := _REFERENCE.fullmatch(reference)):
        raise errors.InputInvalid(f"{reference} is not a file, and not a version like 2 or wren@2 either")
    return parts["character"] or character, int(parts["version"])


async def _load_named(pool: Pool, reference: Path | tuple[str, int | None]) -> tuple[str, str]:
    if isinstance(reference, Path):
        return str(reference), _read_file(reference)
    stored = await _load_stored_plate(pool, *reference)
    return f"{stored.character}@{stored.version}", stored.content


async def _load_stored_plate(pool: Pool, character: str, version: int | None) -> characters.PlateVersion:
    return await characters.load_plate(pool, await _find_character(pool, character), version)


async def _find_character(pool: Pool, character: str) -> CharacterId:
    """Find the character that is named, or the only one there is."""
    if character:
        return CharacterId(character)
    match [known.id for known in await characters.list_characters(pool)]:
        case [only]:
            return only
        case []:
            raise errors.NotFound("there is no character yet: import a plate with `ccn plate import FILE`")
        case several:
            raise errors.InputInvalid(f"there are several characters, name one: {', '.join(several)}")


def _parse_plate(content: str) -> Plate:
    parsed = plate.parse_plate(content)
    prompt.room_for_talk(parsed, prompt.PromptLimits("any"))
    return parsed


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
    """Warn of a model without a price in the settings here; a node may know more prices."""
    if model is None:
        return
    prices = {name: known.to_microdollars() for name, known in settings.load().claude.prices.items()}
    try:
        price.price_of(prices, model)
    except errors.ModelRefused as unpriced:
        printing.say(f"warning: {unpriced}", err=True)


def _summarise_plate(parsed: Plate, content: str) -> Fields:
    exam = interview.make_interview(parsed, "them")
    scores = parsed.baseline.scores() if parsed.baseline else []
    return {
        "name": parsed.name,
        "character": _slug_from_name(parsed.name),
        "model": parsed.model,
        "baseline": {axis: score for axis, score in zip(AXES, scores, strict=False) if score is not None},
        "questions": [question.asks for question in exam.questions],
        "pass_mark": exam.passes,
        "bytes": len(content.encode()),
        "tokens": tokens.estimate_tokens(parsed.body),
    }


def _slug_from_name(name: str) -> str:
    """Make an id from a name; a name without Latin letters needs --character."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:63].strip("-")


def _format_summary(summary: Fields) -> str:
    def format_value(value: object) -> str:
        match value:
            case dict():
                return ", ".join(f"{axis} {score:g}" for axis, score in value.items()) or "-"
            case list():
                return "".join(f"\n  {question}" for question in value)
            case _:
                return "-" if value is None else str(value)

    return "\n".join(f"{name:<12} {format_value(value)}" for name, value in summary.items())
