"""Whether to sign: ballots, what a voter reads back, what it may sign, and who contradicted itself."""
