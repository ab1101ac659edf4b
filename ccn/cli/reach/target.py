"""Which cluster a command is about, and the way to it: one rule and one set of options for every command.

    what the command line names      --endpoint, --database-url or --data: one of them
    else what the settings name      CCN_DATABASE_URL, then CCN_CLIENT_ENDPOINT
    else the cluster that runs here  as `ccn up` keeps it in its folder

A cluster that runs on this machine never takes precedence over a setting. Each command says on standard
error what it uses; with `--json` it says nothing there, because its output is for programs. A secret
among the arguments works, and the command warns of it: everybody on the machine may list processes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import typer

from ccn import errors, settings
from ccn.continuity import local
from ccn.settings import SettingsReading

ONLY_DATABASE = "give --database-url, or --data for a cluster that runs here"
_PANEL = "Which cluster"

Url = Annotated[
    str,
    typer.Option(
        "--database-url",
        help="The database of the cluster; else CCN_DATABASE_URL, else the cluster that runs here.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="The folder of a cluster that `ccn up` runs on this machine.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
Endpoint = Annotated[
    str,
    typer.Option(
        "--endpoint",
        help="The HTTP address of a node, as https://host:port; else CCN_CLIENT_ENDPOINT.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file",
        help="A file with an API key for --endpoint; else CCN_CLIENT_API_KEY.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
Authority = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        help="A PEM file with the authority to trust at --endpoint; else CCN_CLIENT_CA, else the system's.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object on a line; errors too.")]
By = Annotated[str, typer.Option("--by", help="Who asks; the record keeps it.")]


@dataclass(frozen=True, slots=True)
class DatabaseTarget:
    """A cluster that is reached by its database, and what named it."""

    url: str = field(repr=False)
    origin: str


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """A cluster that is reached by the HTTP API of its nodes; the first one is asked first."""

    urls: tuple[str, ...]
    api_key: str = field(repr=False)
    origin: str
    ca: Path | None = None
    """The authority to trust over TLS; those of the system if None."""


Target = TypeVar("Target", DatabaseTarget, HttpTarget)


def find_cluster(
    database_url: str,
    data: Path | None,
    endpoint: str,
    api_key_file: Path | None,
    ca: Path | None = None,
    *,
    quiet: bool,
) -> DatabaseTarget | HttpTarget:
    """Find the way to the cluster for a command that can go either way."""
    _refuse_several(endpoint, database_url, data)
    if api_key_file is not None and (database_url or data is not None):
        raise errors.InputInvalid("--api-key-file goes with --endpoint; a database needs no API key")
    if ca is not None and (database_url or data is not None):
        raise errors.InputInvalid("--ca goes with --endpoint: it is the authority of a node's certificate")
    reading = _read_settings()
    only_endpoint = not (database_url or data or _named_database(reading)) and _named_endpoint(reading)
    if endpoint or only_endpoint:
        return _announce_target(_http_target(reading, endpoint, api_key_file, ca=ca), quiet=quiet)
    return _announce_target(_database_target(reading, database_url, data), quiet=quiet)


def find_database(database_url: str, data: Path | None, *, quiet: bool) -> DatabaseTarget:
    """Find the database of the cluster, for a command that only it can serve."""
    _refuse_several("", database_url, data)
    return _announce_target(_database_target(_read_settings(), database_url, data), quiet=quiet)


def find_owner(database_url: str, data: Path | None, *, quiet: bool) -> DatabaseTarget:
    """Find the database as the role that owns the schema, for a command that changes more than rows."""
    _refuse_several("", database_url, data)
    reading = _read_settings()
    owner_url = reading.settings.database.owner_url.get_secret_value()
    if owner_url and not database_url and data is None:
        return _announce_target(
            DatabaseTarget(owner_url, reading.field_origin("database", "owner_url")), quiet=quiet
        )
    database = _database_target(reading, database_url, data)
    if database_url or (data is None and _named_database(reading)):
        return _announce_target(database, quiet=quiet)
    return _announce_target(
        DatabaseTarget(_owner_url(database.url, _running_record(data)), database.origin), quiet=quiet
    )


def find_nodes(
    endpoint: str,
    data: Path | None,
    api_key_file: Path | None = None,
    api_key: str = "",
    ca: Path | None = None,
    *,
    quiet: bool = False,
) -> HttpTarget:
    """Find the nodes of the cluster, for a command that talks only to nodes."""
    _refuse_several(endpoint, "", data)
    if api_key and api_key_file is not None:
        raise errors.InputInvalid("--api-key and --api-key-file name a key each: give --api-key-file alone")
    if api_key and not quiet:
        _warn_of_secret(
            "the key in --api-key", "--api-key-file, CCN_CLIENT_API_KEY, or CCN_CLIENT_API_KEY_FILE"
        )
    reading = _read_settings()
    if endpoint or (data is None and _named_endpoint(reading)):
        return _http_target(reading, endpoint, api_key_file, api_key, ca)
    running = _running_record(data)
    local_key = str((running.get("admin") or {}).get("api_key", ""))
    key = api_key or _read_key(reading, api_key_file) or local_key
    urls = tuple(str(node["http"]) for node in running["nodes"])
    local_ca = Path(running["ca"]) if running.get("ca") else None
    return HttpTarget(urls, key, _describe_local(running), ca or local_ca or reading.settings.client.ca)


def _http_target(
    reading: SettingsReading,
    endpoint: str,
    api_key_file: Path | None,
    api_key: str = "",
    ca: Path | None = None,
) -> HttpTarget:
    url = endpoint or reading.settings.client.endpoint
    origin = "--endpoint" if endpoint else reading.field_origin("client", "endpoint")
    key = api_key or _read_key(reading, api_key_file)
    return HttpTarget((url.rstrip("/"),), key, origin, ca or reading.settings.client.ca)


def _database_target(reading: SettingsReading, database_url: str, data: Path | None) -> DatabaseTarget:
    if database_url:
        return DatabaseTarget(_prepare_url(database_url, reading, named_here=True), "--database-url")
    if data is None and (url := _named_database(reading)):
        return DatabaseTarget(_prepare_url(url, reading), reading.field_origin("database", "url"))
    if data is None and (endpoint := _named_endpoint(reading)):
        origin = reading.field_origin("client", "endpoint")
        raise errors.InputInvalid(
            f"{origin} names the cluster at {endpoint}, and this command "
            f"needs its database: {ONLY_DATABASE}"
        )
    running = _running_record(data)
    return DatabaseTarget(str(running["database_url"]), _describe_local(running))


def _prepare_url(url: str, reading: SettingsReading, *, named_here: bool = False) -> str:
    """Refuse a way in the clear beyond this machine; what the command line names speaks for itself."""
    from ccn.store.connection import hosts  # noqa: PLC0415 - few commands need it, and its library is large

    database = reading.settings.database
    if named_here:
        database = database.model_copy(update={"ca": None, "certificate": None, "key": None})
    return hosts.prepare_url(url, database)


def _read_key(reading: SettingsReading, api_key_file: Path | None) -> str:
    if api_key_file is None:
        return reading.settings.client.api_key.get_secret_value()
    try:
        return api_key_file.expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as unreadable:
        why = getattr(unreadable, "strerror", None) or "it is not text"
        raise errors.InputInvalid(f"{api_key_file} cannot be read: {why}") from unreadable


def _running_record(data: Path | None) -> dict[str, Any]:
    running = local.read_record(data)
    if running is None:
        raise errors.NoCluster(f"no cluster runs {local.describe_place(data)}")
    return running


def _owner_url(url: str, running: dict[str, Any]) -> str:
    """Return the URL of the local database for its owner, whose password lies beside the data."""
    from ccn.embedded.postgres import service  # noqa: PLC0415 - few commands need it, and an extra has it
    from ccn.store.connection import hosts  # noqa: PLC0415 - the same

    listening = [host.port for host in hosts.read_hosts(url).hosts]
    return service.owner_url(Path(str(running["data"])) / "postgres", *listening)


def _describe_local(running: dict[str, Any]) -> str:
    return f"the cluster that runs here, in {running.get('data', 'a folder of its own')}"


def _read_settings() -> SettingsReading:
    return settings.load_with_origins()


def _named_database(reading: SettingsReading) -> str:
    return reading.settings.database.url.get_secret_value()


def _named_endpoint(reading: SettingsReading) -> str:
    return reading.settings.client.endpoint


def _refuse_several(endpoint: str, database_url: str, data: Path | None) -> None:
    options = {"--endpoint": endpoint, "--database-url": database_url, "--data": data}
    given = [option for option, value in options.items() if value]
    if len(given) > 1:
        raise errors.InputInvalid(f"{' and '.join(given)} name a cluster each: give one of them")


def _announce_target(at: Target, *, quiet: bool) -> Target:
    """Say which cluster the command uses, without its secrets."""
    if not quiet:
        if isinstance(at, DatabaseTarget) and at.origin == "--database-url" and _holds_a_password(at.url):
            _warn_of_secret("the password in --database-url", "CCN_DATABASE_URL or CCN_DATABASE_URL_FILE")
        typer.secho(f"using {_describe_target(at)} ({at.origin})", dim=True, err=True)
    return at


def _warn_of_secret(secret: str, instead: str) -> None:
    places = "the list of processes and in your shell's history"
    typer.secho(f"warning: {secret} is in {places}; use {instead}", fg=typer.colors.YELLOW, err=True)


def _holds_a_password(url: str) -> bool:
    return settings.hide_password(url) != url


def _describe_target(at: DatabaseTarget | HttpTarget) -> str:
    if isinstance(at, HttpTarget):
        return f"the node at {at.urls[0].rpartition('@')[2]}"
    parts = urlsplit(at.url)
    return f"the database {parts.netloc.rpartition('@')[2]}{parts.path}"
