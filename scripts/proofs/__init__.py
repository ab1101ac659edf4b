"""Promises that are shown by breaking things on purpose, many times. CI and people run the same."""
