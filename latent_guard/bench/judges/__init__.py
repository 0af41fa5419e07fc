"""Judges of finished images, one file each."""
