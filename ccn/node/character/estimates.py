"""What is estimated about conversations, off the way of messages: phi, CCC, psi, trust and drift.

Every few seconds this node measures the conversations it hosts in which a reply was scored since, a
bounded number at a time; the rest waits for the next look. What is not estimable is None and has no series:
never a number that looks like one. What is kept and shown is mapped to the range from 0 to 1, by the
`score` of each estimate.

    phi         1 - exp(-phi), of the conversation's last 200 raw scores
    ccc         as it is, 0 for worse than strangers, over the character's instances, 20 raw scores each
    emergence   the logistic of psi less chance, over the character's last 200 rounds
    trust       as the relational state has it
    drift       of the last round, from its median
    charter     how far the last replies of all instances are from what the plate alone leads to
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import structlog

from ccn import errors, metrics
from ccn.core import axes, series_names
from ccn.core.axes import RELATIONAL, UNIT, Vector
from ccn.core.bounded import Recent
from ccn.core.character import consistency, emergence, integrated_information, references
from ccn.core.character.gaussian import Samples
from ccn.core.ids import CharacterId, ConversationId, NodeId
from ccn.node.character.scoring import ScoredReply
from ccn.node.pacing import every
from ccn.store.character import baselines, measures, vectors
from ccn.store.character.baselines import BaselineKind
from ccn.store.character.measures import ConversationMeasure
from ccn.store.connection.pool import Pool
from ccn.store.conversations import instances
from ccn.store.conversations.instances import Instance
from ccn.store.rounds import agreements

log = structlog.get_logger(__name__)

EVERY_S = 15.0
AT_ONCE = 20
"""Conversations measured in one look: about a second of work in a thread, and no more."""
FLEET = 32
"""Instances of a character that CCC compares: those that spoke most recently, one of each person first."""
PARTS = 16
"""Instances whose part in the consensus psi takes off."""
ROUNDS = 200
_WAITING_LIMIT = 20_000
_TRUST = RELATIONAL.index("trust")


@dataclass(frozen=True, slots=True)
class CharacterEstimates:
    """What is estimated once for all conversations of a character."""

    ccc: float | None = None
    emergence: float | None = None


class Estimates:
    """The measures of one node's conversations."""

    def __init__(  # noqa: PLR0917 - where it reads, and by what it measures
        self,
        pool: Pool,
        node: NodeId,
        scorer: str,
        strangers: float | None,
        now: Callable[[], datetime],
        every_s: float,
    ) -> None:
        self._pool, self._node, self._scorer, self._strangers = pool, node, scorer, strangers
        self._now, self._every_s = now, every_s
        self._waiting = Recent[ConversationId, int](_WAITING_LIMIT)
        self._series_key = b""  # read at the first look

    def note_reply(self, scored: ScoredReply) -> None:
        """A reply was scored: its conversation is due. Of too many the one due longest is dropped."""
        here = scored.instance.conversation
        self._waiting[here] = scored.seq

    async def run(self, stop: asyncio.Event) -> None:
        """Look every few seconds, until told to stop. A look that fails costs a measurement."""
        async for _ in every(self._every_s, stop, pause_first=True):
            try:
                await self.measure_due()
            except errors.CCNError as failed:
                log.warning("not measured", reason=str(failed))

    async def measure_due(self) -> list[ConversationMeasure]:
        """Measure what is due, keep it and show it."""
        hosted = await instances.list_alive(self._pool, host=self._node)
        key = self._series_key = self._series_key or await measures.load_series_key(self._pool)
        metrics.retain_measures({series_names.name_series(key, each.conversation) for each in hosted})
        self._show_drift(hosted)
        here = {each.conversation: each for each in hosted}
        due = [self._waiting.pop_oldest() for _ in range(min(AT_ONCE, len(self._waiting)))]
        due = [each for each in due if each[0] in here]  # the others are measured where they live now
        some = {here[each].character: here[each] for each, _ in due}
        together = {name: await self._estimate_character(one) for name, one in some.items()}
        made = [
            await self._measure_conversation(here[each], seq, together[here[each].character])
            for each, seq in due
        ]
        await measures.keep_measures(self._pool, made)
        for each in made:
            metrics.set_measures(
                series_names.name_series(key, each.conversation),
                {"phi": each.phi, "ccc": each.ccc, "trust": each.trust, "emergence": each.emergence},
            )
        return made

    @staticmethod
    def _show_drift(hosted: Sequence[Instance]) -> None:
        largest = dict[str, float]()
        for each in hosted:
            if each.drift is not None:
                largest[each.character] = max(each.drift, largest.get(each.character, 0.0))
        metrics.set_drifts(largest)

    async def _measure_conversation(
        self, instance: Instance, seq: int, together: CharacterEstimates
    ) -> ConversationMeasure:
        here = instance.conversation
        heard = await vectors.load_scored(
            self._pool, here, self._scorer, last=integrated_information.WINDOW
        )
        related = await vectors.load_relational(self._pool, here)
        phi = await asyncio.to_thread(_estimate_phi, _deciding_axes([each.vector for each in heard]), seq)
        trust = related.vector.millionths[_TRUST] if related else None
        return ConversationMeasure(
            here,
            self._now(),
            seq,
            phi,
            together.ccc,
            None if trust is None else trust / UNIT,
            together.emergence,
            instance.drift,
        )

    async def _estimate_character(self, one: Instance) -> CharacterEstimates:
        """What is estimated of all instances of the character of this one."""
        found = await vectors.load_windows(
            self._pool,
            one.character,
            self._scorer,
            instances=FLEET,
            least=consistency.LEAST,
            last=consistency.WINDOW,
        )
        windows = [baselines.vectors_to_samples(each) for each in found.values()]
        metrics.set_charter_distance(one.character, await self._distance_from_charter(one, windows))
        return CharacterEstimates(
            await self._estimate_consistency(windows), await self._estimate_emergence(one.character)
        )

    async def _distance_from_charter(self, one: Instance, windows: Sequence[Samples]) -> float | None:
        """How far they all are from what the plate alone leads to; None before that was ever asked."""
        asked = await baselines.load_newest(
            self._pool, one.character, BaselineKind.PROBES, scorer=self._scorer, model=one.model
        )
        if asked is None or not windows:
            return None
        return references.measure_distance(
            references.mean_axes(np.concatenate(windows)), references.mean_axes(asked.scores)
        )

    async def _estimate_consistency(self, windows: Sequence[Samples]) -> float | None:
        if self._strangers is None:
            return None
        decide = [each[:, list(axes.DECIDING)] for each in windows]
        estimate = await asyncio.to_thread(consistency.estimate_ccc, decide, self._strangers)
        return None if estimate is None else estimate.score

    async def _estimate_emergence(self, name: CharacterId) -> float | None:
        rounds = await agreements.load_medians(self._pool, name, last=ROUNDS)
        if len(rounds) < emergence.LEAST:
            return None
        moments = [each.at for each in rounds]
        parts = await agreements.list_alive_since(self._pool, name, moments[0], PARTS)
        states = await agreements.load_states_at(self._pool, parts, moments)
        unknown = Vector((None,) * len(axes.AXES))
        of_parts = [_deciding_axes([state or unknown for state in each]) for each in states.values()]
        consensus = _deciding_axes([each.median for each in rounds])
        return await asyncio.to_thread(_estimate_psi, consensus, of_parts, rounds[-1].height)


def _deciding_axes(scored: Sequence[Vector]) -> Samples:
    """One row each, of the axes that were validated: what has no ground truth measures nothing."""
    return baselines.vectors_to_samples(scored)[:, list(axes.DECIDING)]


def _estimate_phi(scores: Samples, seed: int) -> float | None:
    """The seed is the message's number: the same window gives the same figure."""
    estimate = integrated_information.estimate_phi(scores, np.random.default_rng(seed))
    return None if estimate is None else _finite_or_none(estimate.score)


def _estimate_psi(consensus: Samples, parts: list[Samples], seed: int) -> float | None:
    shown = ~np.isnan(consensus).any(axis=0)  # an axis that nobody shows is missing, not all the others
    estimate = emergence.estimate_psi(
        consensus[:, shown], [part[:, shown] for part in parts], np.random.default_rng(seed)
    )
    return None if estimate is None else _finite_or_none(estimate.score)


def _finite_or_none(score: float) -> float | None:
    """A covariance that cannot be inverted is one more way of not being estimable."""
    return float(score) if np.isfinite(score) else None
