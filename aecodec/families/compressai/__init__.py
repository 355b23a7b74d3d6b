"""Models of CompressAI as a family, see `families.base`: any architecture of its zoo of image models."""

from aecodec.families.compressai.family import load

__all__ = ["load"]
