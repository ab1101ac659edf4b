"""`ccn chat`: talk with a character, on the terminal or through a pipe, whichever nodes come and go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def chat(
    *,
    character: Annotated[
        str, typer.Option(help="With whom; needed if there are several.", show_default=False)
    ] = "",
    session: Annotated[str, typer.Option(help="Continue this conversation.", show_default=False)] = "",
    endpoint: Annotated[
        str,
        typer.Option(
            help="A node, as http://host:port; else CCN_CLIENT_ENDPOINT, or the cluster that runs here.",
            show_default=False,
        ),
    ] = "",
    api_key: Annotated[
        str,
        typer.Option(
            help="From `ccn key issue`; else CCN_CLIENT_API_KEY, or that of the cluster that runs here.",
            show_default=False,
        ),
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option("--data", help="The folder of the cluster that `ccn up` runs.", show_default=False),
    ] = None,
    show_prompt: Annotated[
        bool, typer.Option("--show-prompt", help="Print what was sent to the model in each turn.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON, one object on a line, for programs.")
    ] = False,
) -> None:
    """Talk with a character. Through a pipe: one message on a line, and the replies, whole, on stdout."""
    from ccn.cli import chatting  # noqa: PLC0415 - start-up must be quick

    wish = chatting.Wish(character, session, endpoint, api_key, data, show_prompt, as_json)
    raise typer.Exit(chatting.run(wish))
