"""Prompt lists, and the protocols of published benchmarks."""
