"""How nodes agree: membership, leadership, one round, and votes.

    membership         a node's place in the cluster, from its start to its end
    leadership         being elected, running a round every interval, stepping down
    consensus_round    one round, as its leader runs it
    voting             this node's report, its vote or its refusal, and its cosignature
    validator_changes  the rules that this node wants to be in force
    genesis            founding a chain
    poll               asking all nodes the same question
    peer_answers       what this node answers when it is asked
    presence, trust    which nodes are present, and which of them are believed
    member_snapshot    the nodes that were present at one moment
    leader_watch       noticing that the leader died
    contradictions     finding nodes that contradict themselves
    voter_news, voter_watch   what a gateway hears and sees of the voters

What is decided stands in `ccn.core.rounds`.
"""
