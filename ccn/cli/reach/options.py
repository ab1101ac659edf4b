"""The options by which commands reach a cluster, defined once.

    DatabaseOptions   --database-url --data --json                            only the database can serve it
    ClusterOptions    also --endpoint --api-key-file --ca                     a node can serve it too

A command that is decorated with `add_options(ClusterOptions)` has these options besides its own, and gets
them as one object, its first argument. Separate from `target`, which says what each option means.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, ClassVar, Concatenate, ParamSpec, TypeVar, get_type_hints

import typer

from ccn import errors
from ccn.cli.reach import ask, source, target
from ccn.cli.reach.source import Source
from ccn.cli.reach.target import Authority, Data, DatabaseTarget, Endpoint, HttpTarget, Json, KeyFile, Url
from ccn.store.connection.pool import Pool

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """The options of a command that only the cluster's database can serve."""

    HELP: ClassVar[str] = "This command needs the cluster's database: no node does it over HTTP."

    database_url: Url = ""
    data: Data = None
    endpoint: Annotated[str, typer.Option("--endpoint", hidden=True)] = ""
    api_key_file: Annotated[Path | None, typer.Option("--api-key-file", hidden=True)] = None
    as_json: Json = False

    def find_database(self, *, quiet: bool = False) -> DatabaseTarget:
        """Find the database, and say which one it is unless the answer is for programs."""
        self._refuse_endpoint()
        return target.find_database(self.database_url, self.data, quiet=quiet or self.as_json)

    def find_owner(self) -> DatabaseTarget:
        """Find the same database as the role that owns the schema."""
        self._refuse_endpoint()
        return target.find_owner(self.database_url, self.data, quiet=self.as_json)

    def run(self, work: Callable[[Pool], Awaitable[T]]) -> T:
        """Do the work with a connection to the database."""
        return ask.run_on_database(work, self.find_database())

    def _refuse_endpoint(self) -> None:
        """Say why the options of other commands do not help, instead of that they do not exist."""
        if self.endpoint or self.api_key_file is not None:
            raise errors.InputInvalid(f"no node does this over HTTP: {target.ONLY_DATABASE}")


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """The options of a command that goes to a node or to the cluster's database."""

    HELP: ClassVar[str] = ""

    database_url: Url = ""
    data: Data = None
    endpoint: Endpoint = ""
    api_key_file: KeyFile = None
    ca: Authority = None
    as_json: Json = False

    def find_cluster(self) -> DatabaseTarget | HttpTarget:
        """Find the way to the cluster, and say which one it is unless the answer is for programs."""
        return target.find_cluster(
            self.database_url, self.data, self.endpoint, self.api_key_file, self.ca, quiet=self.as_json
        )

    def find_owner(self, option: str) -> DatabaseTarget:
        """Find the database as the role that owns the schema, for an option that no node can serve."""
        at = target.find_cluster(self.database_url, self.data, self.endpoint, self.api_key_file, quiet=True)
        if isinstance(at, HttpTarget):
            raise errors.InputInvalid(f"no node does {option} over HTTP: {target.ONLY_DATABASE}")
        return target.find_owner(self.database_url, self.data, quiet=True)

    def open_source(self) -> AbstractContextManager[Source]:
        """Connect to the cluster while the block runs."""
        return source.open_source(self.find_cluster(), quiet=self.as_json)


Options = TypeVar("Options", DatabaseOptions, ClusterOptions)


def add_options(
    group: type[Options],
) -> Callable[[Callable[Concatenate[Options, P], None]], Callable[P, None]]:
    """Give a command all options of the group, and their sentence at the end of its help."""

    def extend_command(command: Callable[Concatenate[Options, P], None]) -> Callable[P, None]:
        @functools.wraps(command)
        def run_command(*arguments: P.args, **values: P.kwargs) -> None:
            shared: dict[str, Any] = {field.name: values.pop(field.name) for field in fields(group)}
            command(group(**shared), *arguments, **values)

        run_command.__signature__ = _extend_signature(command, group)  # type: ignore[attr-defined]
        run_command.__doc__ = "\n\n".join(filter(None, (inspect.getdoc(command), group.HELP)))
        return run_command

    return extend_command


def _extend_signature(command: Callable[..., None], group: type[Any]) -> inspect.Signature:
    """Put the fields of the group in the place of the first parameter, at the end."""
    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    annotations = get_type_hints(group, include_extras=True)
    shared = [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=annotations[field.name],
        )
        for field in fields(group)
    ]
    return inspect.Signature(
        [*(parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in own), *shared]
    )
