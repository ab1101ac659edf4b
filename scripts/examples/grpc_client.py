"""A client of the gRPC API with nothing but the generated stubs, as one would write it in any language.

    .venv/bin/python scripts/examples/grpc_client.py "Good morning!"   # with the cluster that `ccn up` runs

It spawns an instance, says something, shows the reply as it comes, and ends the instance. If the node dies
in the middle, it asks the next one for the events after the last that it saw.
"""

from __future__ import annotations

import argparse
import asyncio
import uuid
from typing import Any

import grpc  # type: ignore[import-untyped]

from ccn.continuity import local
from ccn.pb import instances_pb2 as pb
from ccn.pb.instances_pb2_grpc import InstancesStub

BROKEN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN}
TRIES = 50
AGAIN_S = 0.3


async def main(targets: list[str], api_key: str, character: str, words: str) -> None:
    credential = (("x-api-key", api_key),)
    async with grpc.aio.insecure_channel(targets[0]) as channel:
        asked = pb.SpawnRequest(character=character, idempotency_key=str(uuid.uuid4()))
        spawned = await InstancesStub(channel).Spawn(asked, metadata=credential, timeout=60)
    talk = spawned.conversation.id
    print(f"{spawned.instance.host} hosts {spawned.instance.character} in {talk}\n")
    said = pb.ConverseRequest(conversation=talk, content=words, idempotency_key=str(uuid.uuid4()))
    seen = ""
    for attempt in range(TRIES):
        async with grpc.aio.insecure_channel(targets[attempt % len(targets)]) as channel:
            stub = InstancesStub(channel)
            events: Any = (
                stub.Follow(pb.FollowRequest(conversation=talk, after=seen), metadata=credential)
                if seen
                else stub.Converse(said, metadata=credential)
            )
            try:
                async for event in events:
                    seen = event.id
                    show(event)
                break
            except grpc.aio.AioRpcError as failed:
                code = dict(failed.trailing_metadata() or ()).get("ccn-code", "")
                if failed.code() not in BROKEN:
                    raise SystemExit(f"{failed.code().name} {code}: {failed.details()}") from failed
        await asyncio.sleep(AGAIN_S)
    async with grpc.aio.insecure_channel(targets[attempt % len(targets)]) as channel:
        ending = pb.TerminateRequest(conversation=talk, reason="the example is over")
        await InstancesStub(channel).Terminate(ending, metadata=credential, timeout=30)


def show(event: pb.Event) -> None:
    match event.WhichOneof("what"):
        case "delta":
            print(event.delta, end="", flush=True)
        case "restart":
            print(f"\n[begins anew: {event.restart}]")
        case "done":
            print(f"\n\n{event.done.model}, {event.done.output_tokens} tokens")
        case "failed":
            print(f"\n[no reply: {event.failed.code}: {event.failed.detail}]")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("words", nargs="?", default="Good morning! Who are you?")
    options.add_argument(
        "--target", default="", help="host:port of nodes, with commas; the local cluster's"
    )
    options.add_argument("--api-key", default="", help="from `ccn key issue`; the local admin's")
    options.add_argument("--character", default="wren")
    chosen = options.parse_args()
    if chosen.target:
        nodes, key = chosen.target.split(","), chosen.api_key
    else:
        found = local.find_cluster()
        nodes, key = list(found.targets), chosen.api_key or found.api_key
    asyncio.run(main(nodes, key, chosen.character, chosen.words))
