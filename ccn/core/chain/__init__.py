"""What a round decides on: blocks and their rules, the medians in them, and checkpoints."""
