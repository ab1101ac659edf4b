"""Calls to the model: what they hold, how many tokens they take, what they cost, and the budget."""
