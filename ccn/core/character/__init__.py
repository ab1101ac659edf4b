"""A character over time: states, drift and its alarm, estimates, and the scorers of texts."""
