"""The Anthropic Messages API, with characters as models."""
