"""A judge in confirmations: a whole node that pays for its calls, asked of the stand-in over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import cast

from pydantic import SecretStr
from structlog.testing import capture_logs

from ccn import settings
from ccn.claude import client
from ccn.claude.retries import RetryDelays
from ccn.claude.stand_in import server as stand_in
from ccn.claude.stand_in.faults import FaultRule, FaultRules
from ccn.claude.stand_in.voices import VOICES
from ccn.core.axes import AXES, JUDGED, UNIT
from ccn.core.character import confirmation
from ccn.core.character.confirmation import ProbeVerdict
from ccn.core.character.scoring import judge as questions
from ccn.node.character.judge import Judge
from ccn.node.spending.paid_model import PaidModel, Payer
from ccn.node.views import drift_review
from ccn.store.character import baselines
from ccn.store.character.baselines import BaselineKind
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.conversations import instances
from ccn.store.conversations.instances import Instance
from tests.support.node import node_world
from tests.support.node.node_world import ADA, PATIENT, Model, Node
from tests.support.node.stand_in_model import SCORER

JUDGE = "claude-haiku-4-5"
SPEAKER = settings.ClaudeSettings().model
NO_LIMIT: Decimal | None = None
AT_ONCE = RetryDelays((0.001,) * 4, (0.001,) * 5, (0.001,) * 3)
PLATE = f"""# Ada
Ada is {", ".join(VOICES[AXES[place]].adjective for place in JUDGED)}."""
ASKED_OF_JUDGE = "You rate how a writer comes across"
ADDED = confirmation.ANSWERS * questions.ANSWERS
"""Calls to the judge that a baseline takes."""


@dataclass
class Court:
    """A node with a suspect on it, the judge, and what the stand-in does wrong."""

    node: Node
    model: PaidModel
    judge: Judge
    faults: FaultRules
    suspect: Instance

    @property
    def pool(self) -> Pool:
        return self.node.pool

    async def examine(self) -> ProbeVerdict:
        verdict = await self.node.living.restoration.probing.examine_instance(self.suspect)
        await self.model.await_settlements()
        return verdict

    async def count_calls(self, model: str) -> int:
        """Calls of the suspect's conversation to a model that were paid for."""
        sql = """SELECT count(*) FROM spend_reservations
                 WHERE model = $1 AND conversation_id = $2 AND status = 'settled' AND cost > 0"""
        return int(await self.pool.value(sql, model, self.suspect.conversation))


@asynccontextmanager
async def court(
    database: settings.DatabaseSettings, budget: Decimal | None = NO_LIMIT, *, judging: bool = True
) -> AsyncIterator[Court]:
    world = await node_world.found_world(database, PLATE)
    async with stand_in.run_stand_in() as api:
        claude = settings.ClaudeSettings.model_validate(
            {"base_url": api.url, "api_key": SecretStr("any"), "daily_budget_dollars": budget}
        )
        async with pool.open(database, "paying") as own, client.open_client(claude, AT_ONCE) as asks:
            model = PaidModel(asks, own, claude, lambda: datetime.now(UTC), settings.LimitsSettings())
            judge = Judge(model, JUDGE)
            speaker = cast("Model", model)
            async with world.node(
                "node-1", speaker, PATIENT, scorer=SCORER, judge=judge if judging else None
            ) as node:
                suspect = await instances.find_in_conversation(node.pool, await node.begin_conversation())
                assert suspect is not None
                yield Court(node, model, judge, api.faults, suspect)
                await model.await_settlements()


async def test_a_judge_scores_the_axes_that_nothing_else_scores_and_its_calls_are_booked(
    database: settings.DatabaseSettings,
) -> None:
    async with court(database) as here:
        verdict = await here.examine()
        assert verdict.judged is not None
        assert not verdict.judged.drifted
        assert await here.count_calls(JUDGE) == ADDED + questions.ANSWERS
        kept = await baselines.load_newest(
            here.pool, ADA, BaselineKind.PROBES, scorer=here.judge.version, model=SPEAKER
        )
        assert kept is not None
        assert len(kept.scores) == confirmation.ANSWERS
        shown = await drift_review.load_baselines(here.pool, ADA, SCORER.version)
        assert {each.baseline.scorer: each.void for each in shown} == {
            SCORER.version: None,
            here.judge.version: None,
        }

        again = await here.examine()
        assert again.judged == verdict.judged
        assert await here.count_calls(JUDGE) == ADDED + 2 * questions.ANSWERS, "the baseline was kept"


async def test_who_drifts_is_found_by_the_judge_as_well(database: settings.DatabaseSettings) -> None:
    async with court(database) as here:
        assert not (await here.examine()).drifted
        here.faults.add_rule(FaultRule(drift=100))
        verdict = await here.examine()
        assert verdict.judged is not None
        assert verdict.judged.drifted


async def test_while_the_budgets_are_short_no_judge_is_asked(database: settings.DatabaseSettings) -> None:
    with capture_logs() as logs:
        async with court(database, budget=Decimal(4)) as here:
            verdict = await here.examine()
            assert verdict.judged is None
            assert not verdict.drifted
            assert await here.count_calls(JUDGE) == 0
            assert await here.count_calls(SPEAKER) > len(confirmation.PROBES)
    assert [each["event"] for each in logs].count("confirmed without the judge") == 1


async def test_a_judge_that_fails_leaves_the_confirmation_as_it_is_without_one(
    database: settings.DatabaseSettings,
) -> None:
    with capture_logs() as logs:
        async with court(database) as here:
            here.faults.add_rule(FaultRule(match=ASKED_OF_JUDGE, status=400))
            verdict = await here.examine()
            assert verdict.judged is None
            assert not verdict.drifted
    assert any(each["event"] == "confirmed without the judge" for each in logs)


async def test_without_a_judge_nobody_is_asked(database: settings.DatabaseSettings) -> None:
    async with court(database, judging=False) as here:
        assert (await here.examine()).judged is None
        assert await here.count_calls(JUDGE) == 0


async def test_opposite_voices_get_opposite_scores(database: settings.DatabaseSettings) -> None:
    async with court(database) as here:
        for axis in ("warmth", "directness"):
            voice, payer = VOICES[axis], Payer.of_instance(here.suspect)
            above, below = [
                (await here.judge.judge_messages([each.format(topic="the sea") for each in said], payer))
                .millionths[AXES.index(axis)]
                for said in (voice.high, voice.low)
            ]  # fmt: skip
            assert above is not None
            assert below is not None
            assert above > UNIT / 2 > below
