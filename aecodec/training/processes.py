"""The processes of a run: one, or those that torchrun started, each on a device of its own."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

from aecodec.errors import AecodecError


@dataclass(frozen=True)
class Processes:
    """device: of this one. rank: its number, of `count`; the first one writes and tells."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether it is so in one of them; all have to ask."""
        if self.count == 1:
            return flag
        flags = torch.tensor([float(flag)], device=self.device)
        distributed.all_reduce(flags, distributed.ReduceOp.MAX)
        return bool(flags.item())

    def wait(self) -> None:
        """Until all are here."""
        self.any(False)


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """This process among those that torchrun started, if it did.

    device: as torch names it, or "auto": CUDA, MPS or the CPU. "cuda" is a GPU for each process. Raises AecodecError if
    it is not available, or if another process ends before this one.
    """
    rank, count, local = (int(os.environ.get(name, default)) for name, default in _VARIABLES)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        chosen = torch.device(f"cuda:{local}" if device == "cuda" else device)
        torch.empty(1, device=chosen)
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
    except (RuntimeError, AssertionError) as error:
        raise AecodecError(f"device {device!r} is not available ({str(error).splitlines()[0]})") from error
    if count == 1:
        yield Processes(chosen)
        return
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", rank=rank, world_size=count)
    try:
        with warnings.catch_warnings():  # of 1x1 kernels, which have two names for the same strides
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            yield Processes(chosen, rank, count)
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
            raise
        reason = str(error).splitlines()[0]
        raise AecodecError(
            "another process of the run ended or cannot be reached: see what it said, or whether the system killed it; "
            f"the same command goes on from the last checkpoint ({reason})"
        ) from error
    finally:
        distributed.destroy_process_group()


_VARIABLES = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))  # of torchrun
