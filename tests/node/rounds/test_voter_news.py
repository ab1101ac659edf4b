"""What a gateway takes from voters: what most of them say, and a block that never goes back."""

from __future__ import annotations

from dataclasses import replace

from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.rounds.signer import NumberedHash
from ccn.node.rounds.voter_news import HeardNews, VoterNews
from tests.support.peers import peer_node
from tests.support.peers.peer_node import ONE, THREE, TWO

ALL = peer_node.rules_of(ONE, TWO, THREE)
OTHERS = peer_node.rules_of(ONE, NodeId("node-9"))


def news(node: NodeId, rules: Rules = ALL, height: int = 5) -> VoterNews:
    bodies = rules.validators_body().hex(), rules.parameters_body().hex()
    return VoterNews(node, *bodies, height, peer_node.hashed(f"block {height}").hex(), (f"http://{node}",))


def block(height: int) -> NumberedHash:
    return NumberedHash(height, peer_node.hashed(f"block {height}"))


def test_most_of_them_say_who_votes() -> None:
    heard = HeardNews()
    heard.hear({ONE: news(ONE, OTHERS), TWO: news(TWO), THREE: news(THREE)})
    assert heard.rules == ALL
    assert heard.answering == {ONE, TWO, THREE}
    assert heard.doors == ("http://node-1", "http://node-2", "http://node-3")


def test_who_is_far_ahead_of_the_others_does_not_say_which_block_there_has_to_be() -> None:
    heard = HeardNews()
    heard.hear({ONE: news(ONE, height=2**50), TWO: news(TWO, height=5), THREE: news(THREE, height=4)})
    assert heard.tip == block(5)
    heard.hear({THREE: news(THREE, height=4)})
    assert heard.tip == block(5), "what the database showed once it has to show again"
    heard.hear({TWO: news(TWO, height=7)})
    assert heard.tip == block(7)


def test_silence_forgets_nobody_s_tokens() -> None:
    heard = HeardNews()
    heard.hear({ONE: news(ONE)})
    heard.hear({})
    assert heard.answering == frozenset()
    assert heard.rules == ALL
    assert heard.doors == ("http://node-1",)


def test_before_the_founding_there_is_nothing_to_believe() -> None:
    heard = HeardNews()
    heard.hear({ONE: replace(news(ONE), validators="", parameters="", height=0, block="")})
    assert (heard.rules, heard.tip) == (None, None)
    assert heard.answering == {ONE}
