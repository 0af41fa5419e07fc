"""Latent shards and their readers."""
