"""aec2: a nonlinear transform beside a linear one, a hyperprior, and a decoder in exact integers."""

from aecodec.families.aec2.family import load

__all__ = ["load"]
