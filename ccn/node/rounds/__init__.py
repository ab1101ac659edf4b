"""How nodes agree: membership, leadership, one round, and votes."""
