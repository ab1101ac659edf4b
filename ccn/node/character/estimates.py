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
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import structlog

from ccn import errors, metrics
from ccn.core import axes, series_names
from ccn.core.axes import RELATIONAL, UNIT, Vector
from ccn.core.character import consistency, emergence, integration, references
from ccn.core.character.gaussian import Samples
from ccn.core.ids import CharacterId, ConversationId
from ccn.node.character.scoring import Scored
from ccn.node.instances.hosting import Hosting
from ccn.store.character import baselines, measures, vectors
from ccn.store.character.baselines import Kind
from ccn.store.character.measures import Measure
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
class Together:
    """What is estimated once for all conversations of a character."""

    ccc: float | None = None
    emergence: float | None = None


class Measuring:
    """The measures of one node's conversations."""

    def __init__(  # noqa: PLR0917 - where it reads, and by what it measures
        self,
        pool: Pool,
        hosting: Hosting,
        scorer: str,
        strangers: float | None,
        now: Callable[[], datetime],
        every_s: float,
    ) -> None:
        self._pool, self._hosting, self._scorer, self._strangers = pool, hosting, scorer, strangers
        self._now, self._every_s = now, every_s
        self._waiting = OrderedDict[ConversationId, int]()
        self._series_key = b""  # read at the first look

    def noticed(self, scored: Scored) -> None:
        """A reply was scored: its conversation is due. Of too many the one due longest is dropped."""
        here = scored.instance.conversation
        self._waiting[here] = scored.seq
        self._waiting.move_to_end(here)
        while len(self._waiting) > _WAITING_LIMIT:
            self._waiting.popitem(last=False)

    async def run(self, stop: asyncio.Event) -> None:
        """Look every few seconds, until told to stop. A look that fails costs a measurement."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(self._every_s):
                    await stop.wait()
            except TimeoutError:
                try:
                    await self.look()
                except errors.CCNError as failed:
                    log.warning("not measured", reason=str(failed))

    async def look(self) -> list[Measure]:
        """Measure what is due, keep it and show it."""
        hosted = await instances.alive(self._pool, host=self._hosting.node)
        key = self._series_key = self._series_key or await measures.series_key(self._pool)
        metrics.measured_only({series_names.name(key, each.conversation) for each in hosted})
        self._show_drift(hosted)
        here = {each.conversation: each for each in hosted}
        due = [self._waiting.popitem(last=False) for _ in range(min(AT_ONCE, len(self._waiting)))]
        due = [each for each in due if each[0] in here]  # the others are measured where they live now
        some = {here[each].character: here[each] for each, _ in due}
        together = {name: await self._together(one) for name, one in some.items()}
        made = [await self._measure(here[each], seq, together[here[each].character]) for each, seq in due]
        await measures.keep(self._pool, made)
        for each in made:
            metrics.measured(
                series_names.name(key, each.conversation),
                {"phi": each.phi, "ccc": each.ccc, "trust": each.trust, "emergence": each.emergence},
            )
        return made

    @staticmethod
    def _show_drift(hosted: Sequence[Instance]) -> None:
        largest = dict[str, float]()
        for each in hosted:
            if each.drift is not None:
                largest[each.character] = max(each.drift, largest.get(each.character, 0.0))
        metrics.drifts(largest)

    async def _measure(self, instance: Instance, seq: int, together: Together) -> Measure:
        here = instance.conversation
        heard = await vectors.scored(self._pool, here, self._scorer, last=integration.WINDOW)
        related = await vectors.relational(self._pool, here)
        phi = await asyncio.to_thread(_phi, _deciding([each.vector for each in heard]), seq)
        trust = related.vector.millionths[_TRUST] if related else None
        return Measure(
            here,
            self._now(),
            seq,
            phi,
            together.ccc,
            None if trust is None else trust / UNIT,
            together.emergence,
            instance.drift,
        )

    async def _together(self, one: Instance) -> Together:
        """What is estimated of all instances of the character of this one."""
        found = await vectors.windows(
            self._pool,
            one.character,
            self._scorer,
            instances=FLEET,
            least=consistency.LEAST,
            last=consistency.WINDOW,
        )
        windows = [baselines.samples(each) for each in found.values()]
        metrics.from_charter(one.character, await self._from_charter(one, windows))
        return Together(await self._consistency(windows), await self._emergence(one.character))

    async def _from_charter(self, one: Instance, windows: Sequence[Samples]) -> float | None:
        """How far they all are from what the plate alone leads to; None before that was ever asked."""
        asked = await baselines.newest(
            self._pool, one.character, Kind.PROBES, scorer=self._scorer, model=one.model
        )
        if asked is None or not windows:
            return None
        return references.distance(references.mean(np.concatenate(windows)), references.mean(asked.scores))

    async def _consistency(self, windows: Sequence[Samples]) -> float | None:
        if self._strangers is None:
            return None
        decide = [each[:, list(axes.DECIDING)] for each in windows]
        estimate = await asyncio.to_thread(consistency.estimate, decide, self._strangers)
        return None if estimate is None else estimate.score

    async def _emergence(self, name: CharacterId) -> float | None:
        rounds = await agreements.medians(self._pool, name, last=ROUNDS)
        if len(rounds) < emergence.LEAST:
            return None
        moments = [each.at for each in rounds]
        parts = await agreements.alive_since(self._pool, name, moments[0], PARTS)
        states = await agreements.states_at(self._pool, parts, moments)
        unknown = Vector((None,) * len(axes.AXES))
        of_parts = [_deciding([state or unknown for state in each]) for each in states.values()]
        consensus = _deciding([each.median for each in rounds])
        return await asyncio.to_thread(_psi, consensus, of_parts, rounds[-1].height)


def _deciding(scored: Sequence[Vector]) -> Samples:
    """One row each, of the axes that were validated: what has no ground truth measures nothing."""
    return baselines.samples(scored)[:, list(axes.DECIDING)]


def _phi(scores: Samples, seed: int) -> float | None:
    """The seed is the message's number: the same window gives the same figure."""
    estimate = integration.estimate(scores, np.random.default_rng(seed))
    return None if estimate is None else _finite(estimate.score)


def _psi(consensus: Samples, parts: list[Samples], seed: int) -> float | None:
    shown = ~np.isnan(consensus).any(axis=0)  # an axis that nobody shows is missing, not all the others
    estimate = emergence.estimate(
        consensus[:, shown], [part[:, shown] for part in parts], np.random.default_rng(seed)
    )
    return None if estimate is None else _finite(estimate.score)


def _finite(score: float) -> float | None:
    """A covariance that cannot be inverted is one more way of not being estimable."""
    return float(score) if np.isfinite(score) else None
