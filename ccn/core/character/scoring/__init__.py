"""How a text becomes sixteen scores: one interface, several tiers."""
