"""Finds out who calls and what they may do: accounts, passwords, tokens and API keys."""
