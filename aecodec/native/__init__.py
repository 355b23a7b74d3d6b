"""Decoding by libaec (native/), without torch: the same pixels on every machine, torch's within one level.

The library is compiled when the package is built, by the system's compiler or that of the wheel `ziglang`; where there
was none, torch decodes.
"""

from aecodec.native.decoder import Decoder, decoder
from aecodec.native.library import available, instructions

__all__ = ["Decoder", "available", "decoder", "instructions"]
