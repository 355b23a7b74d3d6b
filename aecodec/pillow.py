"""`import aecodec.pillow`: from then on Pillow reads and writes .aec files, with the default model on the best device.

`register(codec)` makes it use another codec.
"""

from aecodec.plugins.pillow import register

__all__ = ["register"]

register()
