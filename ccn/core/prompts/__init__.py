"""Plates and prompts: what a model is told, layer by layer."""
