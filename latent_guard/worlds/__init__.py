"""Worlds: small, complete settings in which every claim of the package can be measured."""
