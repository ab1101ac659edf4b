"""What `ccn up` says of the model that was set."""

from __future__ import annotations

import asyncio

from pydantic import SecretStr

from ccn import settings
from ccn.claude.stand_in import server
from ccn.cli.cluster import model_check


def chosen(url: str, **others: object) -> settings.ClaudeSettings:
    return settings.ClaudeSettings.model_validate(
        {"base_url": url, "api_key": SecretStr("sk-secret"), **others}
    )


async def test_a_model_that_answers_one_that_is_unknown_and_none_at_all_are_told_apart() -> None:
    async with server.run_stand_in() as api:
        assert await model_check.check_model(chosen(api.url)) == (
            f"talking to claude-sonnet-5-5 at {api.url}, which answers"
        )
        unknown = await model_check.check_model(chosen(api.url, model="claude-nonesuch"))
        assert unknown.startswith("the model does not answer: ")
        assert "check CCN_CLAUDE_MODEL" in unknown
        url = api.url
    gone = await model_check.check_model(chosen(url))
    assert gone.startswith("the model does not answer: ")
    assert "sk-secret" not in unknown + gone


async def test_it_is_said_beside_what_else_goes_on_and_not_waited_for() -> None:
    said, heard = list[str](), asyncio.Event()

    def say(text: str) -> None:
        said.append(text)
        heard.set()

    async with server.run_stand_in() as api:
        async with model_check.check_model_beside(chosen(api.url), say):
            assert not said
            await heard.wait()
        assert said == [f"talking to claude-sonnet-5-5 at {api.url}, which answers"]
        async with model_check.check_model_beside(chosen(api.url), say):
            pass  # ended at once, for instance by Ctrl-C
    assert len(said) == 1
