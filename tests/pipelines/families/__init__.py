"""Tiny pipelines of every class that the guard knows, family by family."""
