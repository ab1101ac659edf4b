"""`ccn chat`: talk with a character, on the terminal or through a pipe, while nodes come and go."""

from __future__ import annotations

from typing import Annotated

import typer

from ccn.cli.chat import chat_loop
from ccn.cli.reach import target
from ccn.cli.reach.target import Authority, Data, Endpoint, Json, KeyFile


def chat(
    *,
    character: Annotated[
        str,
        typer.Option(help="The character to talk with; needed if there are several.", show_default=False),
    ] = "",
    session: Annotated[str, typer.Option(help="Continue this conversation.", show_default=False)] = "",
    reason: Annotated[
        str,
        typer.Option(
            help="For admins: why you read the --session of another user. Its end is shown, and the "
            "record keeps the reason.",
            show_default=False,
        ),
    ] = "",
    endpoint: Endpoint = "",
    api_key_file: KeyFile = None,
    ca: Authority = None,
    api_key: Annotated[str, typer.Option(hidden=True, show_default=False)] = "",
    data: Data = None,
    show_prompt: Annotated[
        bool, typer.Option("--show-prompt", help="Print what CCN sent to the model in each turn.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Talk with a character, on the terminal or through a pipe.

    Through a pipe, each line is a message, and each reply is printed whole on standard output.
    """
    at = target.find_nodes(endpoint, data, api_key_file, api_key, ca, quiet=as_json)
    options = chat_loop.ChatOptions(character, session, reason, at, show_prompt, as_json)
    raise typer.Exit(chat_loop.run_chat(options))
