"""Shared fixtures: a small untrained model, so that the tests of the code do not depend on released weights."""

from __future__ import annotations

import io
import os
import platform
import signal
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command does, before torch is there
if "PYTEST_XDIST_WORKER" in os.environ:  # there are as many of them as processors
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell's background jobs and nohup ignore them, and so would the commands that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

import numpy as np
import pytest
import torch
from PIL import Image

from aecodec.codec import Codec
from aecodec.families.aec1.config import ModelConfig
from aecodec.families.aec1.network import Aec1
from aecodec.families.aec2.config import ModelConfig as Aec2Config
from aecodec.families.aec2.network import Aec2
from aecodec.families.aec2.weights import tensors_of as aec2_tensors
from aecodec.families.hyperprior.constants import BLOCK
from aecodec.families.hyperprior.fitting import fit_tables
from aecodec.families.hyperprior.klt import start_from_klt
from aecodec.families.hyperprior.rounding import Encoder
from aecodec.families.hyperprior.weights import metadata_of
from aecodec.models import write_weights
from aecodec.native import build, library
from aecodec.training.export import save

SMALL = ModelConfig(
    latent_channels=24,
    channels_8=16,
    channels_16=24,
    hyper_channels=8,
    trunk_channels=16,
    context_channels=16,
    filter_channels=8,
    filter_layers=3,
    blocks_16=2,
    analysis_blocks_16=1,
    rows=4,
)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Sources of libaec that have changed since it was built would be tested as they were."""
    in_a_checkout = build.SOURCES.is_dir() and build.TARGET.exists()
    if not hasattr(session.config, "workerinput") and in_a_checkout and not build.fresh():
        problem = build.build()
        assert problem is None, problem


def smooth_covariance() -> torch.Tensor:
    """A covariance of 16x16x3 blocks in which neighbouring samples are alike."""
    index = torch.arange(BLOCK)
    # Unshuffled by 8, then by 2, each time as (channel, row, column): recover channel, row and column of each sample.
    channel, row, column = index // 256, index // 32 % 8 + 8 * (index // 2 % 2), index // 4 % 8 + 8 * (index % 2)
    distance = (row[:, None] - row).abs() + (column[:, None] - column).abs() + 2 * (channel[:, None] != channel)
    return 0.05 * torch.exp(-distance.double() / 12)


def make_small_network() -> Aec1:
    torch.manual_seed(0)
    network = Aec1(SMALL)
    start_from_klt(network, smooth_covariance())
    torch.nn.init.normal_(network.synthesis.filter.last.weight, std=0.02)  # from nothing to a little
    torch.nn.init.uniform_(network.scale_model.z_weights, -0.5, 0.8)
    return network.eval().requires_grad_(False)


FLAGS = ("-std=c11", "-O1", "-w", "-ffp-contract=off")
# What processors of each kind can do beside their own.
OLDER = {"avx512vnni": ["plain", "avx2", "avx512"], "avx512": ["plain", "avx2"], "avxvnni": ["plain", "avx2"]}


@pytest.fixture(scope="session")
def small_network() -> Aec1:
    return make_small_network()


@pytest.fixture(scope="session")
def small_weights(small_network: Aec1, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save(path, small_network, *fit_tables(None))
    return path


@pytest.fixture(scope="session")
def codec(small_weights: Path) -> Codec:
    return Codec(device="cpu", model=small_weights)


@pytest.fixture(scope="session")
def compressai_checkpoint(photo: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What CompressAI's example saves of a small bmshj2018-hyperprior, trained for seconds."""
    pytest.importorskip("compressai")
    from compressai_models import trained

    path = tmp_path_factory.mktemp("compressai") / "checkpoint.pth.tar"
    torch.save(trained(photo), path)
    return path


@pytest.fixture(scope="session")
def compressai_weights(compressai_checkpoint: Path) -> Path:
    from aecodec.families.compressai import checkpoints
    from aecodec.models import write_weights

    path = compressai_checkpoint.with_name("mine.safetensors")
    write_weights(path, "compressai", *checkpoints.read("bmshj2018-hyperprior", compressai_checkpoint))
    return path


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """(96, 144, 3) uint8: something with edges, gradients and noise in it."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:96, :144]
    picture = np.stack([2 * y, x, 255 - x], 2).astype(float)
    picture[30:60, 40:100] = (200, 60, 40)
    picture[(x - 110) ** 2 + (y - 60) ** 2 < 500] = (30, 90, 160)
    return np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)


def make_small_aec2_weights(path: Path) -> Path:
    torch.manual_seed(1)
    config = Aec2Config(
        latent_channels=64,
        channels_8=32,
        channels_16=32,
        analysis_blocks_8=1,
        analysis_blocks_16=1,
        blocks_8=1,
        blocks_16=2,
        filter_layers=2,
        hyper_channels=32,
        trunk_channels=32,
        context_channels=32,
    )
    network = Aec2(config)
    start_from_klt(network, smooth_covariance())
    with torch.no_grad():  # what would begin by changing nothing
        for name, parameter in network.synthesis.named_parameters():
            if name.endswith((".second.weight", "filter.last.weight", "blocks_16.weight")):
                parameter.normal_(std=0.02)
    write_weights(path, "aec2", aec2_tensors(network.eval(), *fit_tables(None)), metadata_of(config, Encoder()))
    return path


@pytest.fixture(scope="session")
def small_aec2_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_aec2_weights(tmp_path_factory.mktemp("aec2") / "small.safetensors")


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Path, bytes], np.ndarray]:
    """Decodes a file by the kernels of a name: from it, weights and the file's bytes to pixels of 8 bits."""
    if platform.system() != "Linux" or not build.compilers():
        pytest.skip("there is no C compiler")
    compiler, folder = build.compilers()[0], tmp_path_factory.mktemp("older")
    own = library.instructions() if library.available() else ""

    @cache
    def objects() -> list[Path]:
        (folder / "objects").mkdir()
        sources = [path for path in (build.SOURCES / "src").glob("*.c") if path.stem != "dispatch"]
        command = [*compiler, *FLAGS, "-c", *sources, build.SOURCES / "tools" / "aecd.c"]
        subprocess.run(command, check=True, cwd=folder / "objects")
        return sorted((folder / "objects").iterdir())

    @cache
    def program(kernels: str) -> Path:
        chosen = f"-DAEC_KERNELS=aec__kernels_{kernels}", build.SOURCES / "src" / "dispatch.c"
        command = [*compiler, *FLAGS, *chosen, *objects(), "-o", folder / kernels, "-lm", "-pthread"]
        subprocess.run(command, check=True)
        return folder / kernels

    def decode(kernels: str, weights: Path, data: bytes) -> np.ndarray:
        if kernels not in OLDER.get(own, ["plain"]):
            pytest.skip(f"this machine ({own or 'no libaec'}) cannot say")
        (folder / "in.aec").write_bytes(data)
        command = [program(kernels), "--model", weights, folder / "in.aec", folder / "out.png"]
        subprocess.run(command, check=True)
        with Image.open(io.BytesIO((folder / "out.png").read_bytes())) as image:
            return np.asarray(image)

    return decode
