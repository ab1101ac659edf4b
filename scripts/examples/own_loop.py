"""A program with a loop of its own: CCN lends the character and keeps the record, the words come from here.

.venv/bin/python scripts/examples/own_loop.py            # with the cluster that `ccn up` runs
"""

from __future__ import annotations

import argparse
import asyncio

from ccn import continuity
from ccn.continuity import Prompt

QUESTIONS = ("Good morning! Who are you?", "And will you remember this tomorrow?")


async def your_model(prompt: Prompt) -> str:
    """Yours. With Anthropic's: `await AsyncAnthropic().messages.create(**prompt.request())`."""
    asked = prompt.request()["messages"][-1]["content"][-1]["text"]
    return f"I was asked {asked!r}, and my character has {len(prompt.system)} letters."


async def main(target: str, api_key: str, character: str) -> None:
    async with continuity.connect(target, api_key) as cluster:
        talk = await cluster.begin(character, title="a loop of its own")
        for question in QUESTIONS:
            await talk.record("user", question)
            await talk.record("assistant", await your_model(await talk.prompt()))
        for message in await talk.history():
            print(f"{message.seq} {message.role}: {message.content}")
        health = await talk.health()
        print(f"conversation {talk.id}: {health.messages} messages, drift {health.drift}, ccc {health.ccc}")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument(
        "--target", default="", help="host:port of nodes, with commas; the local cluster's"
    )
    options.add_argument("--api-key", default="", help="from `ccn key issue`; the local admin's")
    options.add_argument("--character", default="wren")
    chosen = options.parse_args()
    asyncio.run(main(chosen.target, chosen.api_key, chosen.character))
