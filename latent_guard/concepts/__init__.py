"""Prompt sets (data) and concept banks (their embeddings), the guard's idea of what is unsafe."""
