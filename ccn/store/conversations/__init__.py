"""Conversations, their messages and turns, who speaks in them, and what prompts are made of."""
