"""CCN for Python programs: talk with a character, or speak for it with a loop of your own.

    from ccn import continuity

    async with continuity.connect() as cluster:     # that runs here; or ("host:7701", api_key="ccn_…")
        talk = await cluster.begin("wren")          # a conversation for a loop of your own
        await talk.record("user", "Good morning!")
        prompt = await talk.prompt()                # the character's prompt and what was said so far
        reply = await your_model(**prompt.request())
        await talk.record("assistant", reply)       # durable, and sealed like everything that is said
        print(await talk.history(), await talk.health())

`cluster.spawn` begins a conversation in which an instance of CCN answers, and `talk.say` has it answer.
Calls go to whichever node can be reached, and a stream goes on at another one when its node dies.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ccn.continuity.cluster import Cluster, connect
    from ccn.continuity.conversation import Conversation
    from ccn.continuity.values import Health, Prompt

__all__ = ["Cluster", "Conversation", "Health", "Prompt", "connect"]

_FROM = {"Cluster": "cluster", "connect": "cluster", "Conversation": "conversation"}


def __getattr__(name: str) -> object:
    """Import what is asked for: commands that only look for a cluster here need no gRPC."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f"{__name__}.{_FROM.get(name, 'values')}"), name)
