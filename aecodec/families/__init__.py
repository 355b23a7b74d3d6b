"""The networks that aecodec codes with, behind one seam (`families.base`); each is imported when a model needs it.

A family of one's own: a module with a function `load`, see `families.base.FamilyModule`, announced by an entry point of
the group "aecodec.families" whose name is what the weights say.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, cast

from aecodec.errors import ModelError
from aecodec.families.base import FamilyModule

if TYPE_CHECKING:
    from aecodec.families.trainable import Trainable

ENTRY_POINTS = "aecodec.families"
OLDEST = "aec1"  # of weights that name none
BUILT_IN = {name: f"aecodec.families.{name}" for name in ("aec1", "aec2", "compressai")}


def find(name: str) -> FamilyModule:
    """The module of a family. Raises ModelError if there is none of this name, or if it cannot be imported."""
    module = BUILT_IN.get(name)
    if module is None:
        from importlib.metadata import entry_points  # slow to import, and seldom needed

        module = next((entry.value for entry in entry_points(group=ENTRY_POINTS, name=name)), None)
    if module is None:
        raise ModelError(
            f"a model of the family {name!r}, which this aecodec does not have ({', '.join(BUILT_IN)}); "
            "a newer version may have it, or install the package that brings it"
        )
    try:
        return cast(FamilyModule, import_module(module))
    except ImportError as error:
        needed = error.name or str(error)
        raise ModelError(f"models of the family {name!r} need {needed}, which is not installed ({error})") from error


def find_trainable(name: str) -> Trainable:
    """What training needs of a family. Raises ModelError if there is none of this name, or if it cannot be trained."""
    module = cast(ModuleType, find(name)).__name__ + ".training"
    try:
        return cast("Trainable", import_module(module))
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ModelError(f"models of the family {name!r} are not trained here") from error
