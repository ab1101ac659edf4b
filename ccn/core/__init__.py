"""The rules of CCN: values in, values out. Nothing here reads a clock, draws a random number or waits.

    rounds       one round of consensus: reports, a proposal, votes, and reading the block back
    chain        what a round decides on: blocks, rules, medians, drift, checkpoints
    ledger       the append-only record: leaves, the Merkle tree, proofs, signed notes
    prompts      plates, and the prompts that are built from them
    character    axes over time: states, drift alarms, estimates, and the scorers
    calls        calls to the model: what they hold, what they cost, what is left of a budget
    identity     who a node is: registrations, certificates that were revoked, keys for tokens

Whoever calls these functions passes in the time, the random generator, and the functions that sign and
check signatures. So every rule can be tested without a service.
"""
