"""The errors that aecodec raises on purpose, and its warnings; everything else is a bug."""


class AecodecError(Exception):
    """Base class: something about the input, the model or a limit is wrong, and the message says what."""


class FormatError(AecodecError):
    """The bytes are not a readable .aec file: foreign, truncated, damaged or of an unknown version."""


class ModelError(AecodecError):
    """The model is unknown, damaged, or cannot be exported exactly."""


class LimitError(AecodecError):
    """The picture is larger than the limit that is in force."""


class OutOfReachError(AecodecError):
    """No quality gives this picture the size or the fidelity that was asked for."""


class PictureWarning(UserWarning):
    """A part of a picture is not kept: other frames, lower bits."""


class OddityWarning(PictureWarning):
    """Something of a picture is not as it should be, and is kept as it is: nothing is lost."""


class ArchiveWarning(UserWarning):
    """Something of an archive is damaged or missing; the rest of it stays open."""
