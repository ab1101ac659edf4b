"""Benchmarks: one module each, with `async def run(rounds: int) -> harness.Report`. None fails a build."""
