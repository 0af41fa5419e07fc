"""A run: planned, made, resumed, merged, told."""
