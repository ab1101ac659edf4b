"""Estimates about conversations, which no message waits for: phi, CCC, psi, trust and drift.

Every few seconds this node measures the conversations that it hosts and in which a reply was scored since.
It measures a bounded number at a time, and the rest waits for the next time. What cannot be estimated is
None and has no series. Values are stored and shown in the range from 0 to 1, by the `score` of each
estimate.

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
"""Conversations measured at a time, which takes about a second in a thread."""
FLEET = 32
"""Instances of a character that CCC compares: those that spoke most recently, first one of each person."""
PARTS = 16
"""Instances whose part in the median psi subtracts."""
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
        self._series_key = b""  # read when the first conversations are measured

    def note_reply(self, scored: ScoredReply) -> None:
        """Note that a reply was scored, so its conversation is due. If too many are, drop the oldest."""
        self._waiting[scored.instance.conversation] = scored.seq

    async def run(self, stop: asyncio.Event) -> None:
        """Measure every few seconds, until told to stop. An error only costs a measurement."""
        async for _ in every(self._every_s, stop, pause_first=True):
            try:
                await self.measure_due()
            except errors.CCNError as failed:
                log.warning("not measured", reason=str(failed))

    async def measure_due(self) -> list[ConversationMeasure]:
        """Measure the conversations that are due, and store and show the measures."""
        alive = await instances.list_alive(self._pool, host=self._node)
        key = self._series_key = self._series_key or await measures.load_series_key(self._pool)
        metrics.measures.retain_measures(
            {series_names.name_series(key, instance.conversation) for instance in alive}
        )
        self._show_drift(alive)
        hosted = {instance.conversation: instance for instance in alive}
        due = [self._waiting.pop_oldest() for _ in range(min(AT_ONCE, len(self._waiting)))]
        # Conversations that moved away are measured by their new hosts.
        due = [(conversation, seq) for conversation, seq in due if conversation in hosted]
        examples = {hosted[conversation].character: hosted[conversation] for conversation, _ in due}
        shared = {name: await self._estimate_character(one) for name, one in examples.items()}
        made = [
            await self._measure_conversation(
                hosted[conversation], seq, shared[hosted[conversation].character]
            )
            for conversation, seq in due
        ]
        await measures.keep_measures(self._pool, made)
        for measure in made:
            metrics.measures.set_measures(
                series_names.name_series(key, measure.conversation),
                {
                    "phi": measure.phi,
                    "ccc": measure.ccc,
                    "trust": measure.trust,
                    "emergence": measure.emergence,
                },
            )
        return made

    @staticmethod
    def _show_drift(hosted: Sequence[Instance]) -> None:
        largest = dict[str, float]()
        for instance in hosted:
            if instance.drift is not None:
                largest[instance.character] = max(instance.drift, largest.get(instance.character, 0.0))
        metrics.character.set_drifts(largest)

    async def _measure_conversation(
        self, instance: Instance, seq: int, shared: CharacterEstimates
    ) -> ConversationMeasure:
        conversation = instance.conversation
        scored = await vectors.load_scored(
            self._pool, conversation, self._scorer, last=integrated_information.WINDOW
        )
        relation = await vectors.load_relational(self._pool, conversation)
        scores = _deciding_axes([state.vector for state in scored])
        phi = await asyncio.to_thread(_estimate_phi, scores, seq)
        trust = relation.vector.millionths[_TRUST] if relation else None
        return ConversationMeasure(
            conversation,
            self._now(),
            seq,
            phi,
            shared.ccc,
            None if trust is None else trust / UNIT,
            shared.emergence,
            instance.drift,
        )

    async def _estimate_character(self, one: Instance) -> CharacterEstimates:
        """Estimate what all instances of this one's character share."""
        window_of = await vectors.load_windows(
            self._pool,
            one.character,
            self._scorer,
            instances=FLEET,
            least=consistency.LEAST,
            last=consistency.WINDOW,
        )
        windows = [baselines.vectors_to_samples(window) for window in window_of.values()]
        metrics.character.set_charter_distance(
            one.character, await self._distance_from_charter(one, windows)
        )
        return CharacterEstimates(
            await self._estimate_consistency(windows), await self._estimate_emergence(one.character)
        )

    async def _distance_from_charter(self, one: Instance, windows: Sequence[Samples]) -> float | None:
        """Measure how far all instances are from the charter, or None while there is no charter."""
        charter = await baselines.load_newest(
            self._pool, one.character, BaselineKind.PROBES, scorer=self._scorer, model=one.model
        )
        if charter is None or not windows:
            return None
        return references.measure_distance(
            references.mean_axes(np.concatenate(windows)), references.mean_axes(charter.scores)
        )

    async def _estimate_consistency(self, windows: Sequence[Samples]) -> float | None:
        if self._strangers is None:
            return None
        deciding = [window[:, list(axes.DECIDING)] for window in windows]
        estimate = await asyncio.to_thread(consistency.estimate_ccc, deciding, self._strangers)
        return None if estimate is None else estimate.score

    async def _estimate_emergence(self, name: CharacterId) -> float | None:
        rounds = await agreements.load_medians(self._pool, name, last=ROUNDS)
        if len(rounds) < emergence.LEAST:
            return None
        moments = [agreed.at for agreed in rounds]
        parts = await agreements.list_alive_since(self._pool, name, moments[0], PARTS)
        states = await agreements.load_states_at(self._pool, parts, moments)
        unknown = Vector((None,) * len(axes.AXES))
        of_parts = [_deciding_axes([state or unknown for state in part]) for part in states.values()]
        consensus = _deciding_axes([agreed.median for agreed in rounds])
        return await asyncio.to_thread(_estimate_psi, consensus, of_parts, rounds[-1].height)


def _deciding_axes(scored: Sequence[Vector]) -> Samples:
    """Return one row for each vector, with the validated axes only. Other axes measure nothing."""
    return baselines.vectors_to_samples(scored)[:, list(axes.DECIDING)]


def _estimate_phi(scores: Samples, seed: int) -> float | None:
    """Estimate phi. The seed is the message's number, so the same window gives the same figure."""
    estimate = integrated_information.estimate_phi(scores, np.random.default_rng(seed))
    return None if estimate is None else _finite_or_none(estimate.score)


def _estimate_psi(consensus: Samples, parts: list[Samples], seed: int) -> float | None:
    shown = ~np.isnan(consensus).any(axis=0)  # leaves out axes that no instance shows
    estimate = emergence.estimate_psi(
        consensus[:, shown], [part[:, shown] for part in parts], np.random.default_rng(seed)
    )
    return None if estimate is None else _finite_or_none(estimate.score)


def _finite_or_none(score: float) -> float | None:
    """Return the score, or None if a covariance could not be inverted."""
    return float(score) if np.isfinite(score) else None
