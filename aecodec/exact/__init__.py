"""Exact integer layers: the same numbers on every device, whatever the order of summation. Knows no network."""
