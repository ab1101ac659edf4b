"""Benchmarks: one module each, with `async def run(rounds: int) -> harness.Report`. None fails a build.

A benchmark of something that grows also takes `rows`, the size of its corpus.
"""
