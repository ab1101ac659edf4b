"""What a block holds and how the next one follows: rosters, medians, rules, headers, checkpoints."""
