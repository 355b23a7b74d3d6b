"""Whether the tensors and numbers of a weights file are what a family expects, before anything is built of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from aecodec.coding.tables import TABLES
from aecodec.errors import ModelError
from aecodec.families.base import Weights

FLOATS = ("float16", "float32")
Tensors = Mapping[str, npt.NDArray[Any]]
Expected = dict[str, tuple[tuple[int, ...], tuple[str, ...]]]  # shape and possible dtypes of each tensor, by its name


def check_tensors(tensors: Tensors, expected: Expected) -> None:
    """Raises ModelError unless the tensors are just those that are expected, and all floats are finite."""
    missing, unknown = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or unknown:
        what, names = ("misses", missing) if missing else ("holds unknown", unknown)
        raise ModelError(f"{what} tensors: {', '.join(sorted(names)[:3])}{', ...' if len(names) > 3 else ''}")
    for name, (shape, dtypes) in expected.items():
        tensor = tensors[name]
        if tensor.shape != shape or tensor.dtype.name not in dtypes:
            found = f"{tensor.dtype.name} of {'x'.join(map(str, tensor.shape)) or 'no dimensions'}"
            raise ModelError(f"tensor {name} is {found}; expected {dtypes[0]} of {'x'.join(map(str, shape))}")
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise ModelError(f"tensor {name} holds numbers that are not finite")


def expected_tables(weights: Weights, prefix: str) -> Expected:
    """The tensors of 64 frequency tables; how many frequencies there are is for `coding.tables.Tables` to check."""
    frequencies = weights.tensors.get(f"{prefix}frequencies")
    count = 0 if frequencies is None else frequencies.size
    return {f"{prefix}frequencies": ((count,), ("int32",)), f"{prefix}reach": ((TABLES,), ("int32",))}


def check_range(name: str, tensor: npt.NDArray[Any], low: int, high: int) -> None:
    """Raises ModelError unless all elements are low..high."""
    if tensor.size and not (low <= int(tensor.min()) and int(tensor.max()) <= high):
        raise ModelError(f"tensor {name} holds {int(tensor.min())}..{int(tensor.max())}; expected {low}..{high}")


def check_integers(values: Mapping[str, Any], ranges: Mapping[str, tuple[int, int]]) -> None:
    """Raises ValueError unless every value named in `ranges` is an integer, or a tuple of such, in its range."""
    for name, (low, high) in ranges.items():
        value = values[name]
        for item in value if isinstance(value, tuple) else (value,):
            if type(item) is not int or not low <= item <= high:
                raise ValueError(f"{name} = {value!r}; expected {low} to {high}")


def check_lambdas(low: Any, high: Any) -> None:
    """Raises ValueError unless 0 < lambda_min < lambda_max, both finite."""
    if not (type(low) in (int, float) and type(high) in (int, float) and 0 < low < high < math.inf):
        raise ValueError(f"lambda from {low!r} to {high!r}; expected 0 < lambda_min < lambda_max")
