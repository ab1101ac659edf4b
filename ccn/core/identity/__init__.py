"""What a node says of itself, signed, and when others believe it."""
