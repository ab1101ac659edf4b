"""The neighbour that speaks to the Anthropic API."""
