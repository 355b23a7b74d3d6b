"""aec1: a linear transform of 16x16 blocks beside a small network, a hyperprior in exact integers, hidden signs."""

from aecodec.families.aec1.family import load

__all__ = ["load"]
