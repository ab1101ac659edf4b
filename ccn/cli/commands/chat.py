"""`ccn chat`: talk with a character, on the terminal or through a pipe, whichever nodes come and go."""

from __future__ import annotations

from typing import Annotated

import typer

from ccn.cli.chat import chat_loop
from ccn.cli.reach import target
from ccn.cli.reach.target import Data, Endpoint, Json, KeyFile


def chat(
    *,
    character: Annotated[
        str, typer.Option(help="With whom; needed if there are several.", show_default=False)
    ] = "",
    session: Annotated[str, typer.Option(help="Continue this conversation.", show_default=False)] = "",
    reason: Annotated[
        str,
        typer.Option(
            help="For admins: show the end of somebody else's --session and leave; the record says why.",
            show_default=False,
        ),
    ] = "",
    endpoint: Endpoint = "",
    api_key_file: KeyFile = None,
    api_key: Annotated[str, typer.Option(hidden=True, show_default=False)] = "",
    data: Data = None,
    show_prompt: Annotated[
        bool, typer.Option("--show-prompt", help="Print what was sent to the model in each turn.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Talk with a character. Through a pipe: one message on a line, and the replies, whole, on stdout."""
    at = target.find_nodes(endpoint, data, api_key_file, api_key, quiet=as_json)
    wish = chat_loop.ChatOptions(character, session, reason, at, show_prompt, as_json)
    raise typer.Exit(chat_loop.run_chat(wish))
