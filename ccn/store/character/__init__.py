"""Scores, baselines, measures and restorations."""
