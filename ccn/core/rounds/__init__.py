"""One round of consensus: what nodes report, propose, vote, refuse and cosign, and what they remember.

    ballot             proposes, judges a proposal (a vote, or a refusal), and counts the votes
    intake             which reports count
    signer             what a node may still sign: it refuses a second vote for a height and term
    readback           checks a committed block before it is cosigned
    refusal            a no and its reason, as all of these return it
    evidence           two signed statements that no honest node makes
    validator_change   a change of the validators that an operator asks for
    database_timeline  which database a server has, by which a former primary is known

When each of these happens is told in `ccn.node.rounds`.
"""
