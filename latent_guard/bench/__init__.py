"""Measuring: prompts, a generator, judges and metrics."""
