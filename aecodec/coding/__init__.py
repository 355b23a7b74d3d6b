"""Entropy coding: symbols and table indices to bytes, and back. Knows no network."""
