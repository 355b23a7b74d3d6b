"""The promise: a run goes on exactly where it stopped, and what is exported is what was trained."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import SMALL
from PIL import Image

from aecodec import AecodecError, ModelError, signals
from aecodec.cli import main
from aecodec.codec import Codec
from aecodec.families import find_trainable
from aecodec.families.aec1.network import Aec1
from aecodec.families.aec1.training import groups
from aecodec.families.aec1.weights import trainable
from aecodec.families.hyperprior import objective
from aecodec.families.hyperprior.constants import scale_of_index
from aecodec.families.hyperprior.objective import laplace_bits, loss_per_patch, measure
from aecodec.families.layouts import network_input, pixels_of_squares, regroup, shuffle, unshuffle
from aecodec.models import DEFAULTS, load_released, locate, read_weights
from aecodec.training import checkpoint, loop
from aecodec.training.data import block_covariance
from aecodec.training.export import export
from aecodec.training.optimisers import matrix_of
from aecodec.training.phases import Settings

FAST = {"batch": 2, "patch": 128, "warmup": 4}
SMALL_AEC2 = {
    "latent_channels": 32,
    "channels_8": 32,
    "channels_16": 32,
    "analysis_blocks_8": 1,
    "analysis_blocks_16": 1,
    "blocks_8": 1,
    "blocks_16": 1,
    "filter_layers": 2,
    "hyper_channels": 32,
    "trunk_channels": 32,
    "context_channels": 32,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five 512x512 pictures."""
    folder = tmp_path_factory.mktemp("photos")
    y, x = np.mgrid[:512, :512]
    for number, name in enumerate("abcde"):
        waves = np.sin(x / (5 + number)) + np.cos(y / (9 + 2 * number))
        rng = np.random.default_rng(number)
        pixels = 128 + 50 * waves[:, :, None] + rng.normal(0, 4, (512, 512, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{name}.png")
    return folder


def run(photos: Path, folder: Path, **options: object) -> dict:
    small = SMALL_AEC2 if options.get("family") == "aec2" else SMALL.values()
    options = {"changes": FAST, "report_every": 100, "network": small, "log": lambda line: None} | options
    return torch.load(loop.train([photos], folder, **options), weights_only=True)  # type: ignore[arg-type]


def log_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def assert_same(a: object, b: object) -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)  # type: ignore[arg-type]
    elif isinstance(a, dict):
        assert a.keys() == b.keys()  # type: ignore[attr-defined]
        for key in a:
            if key != "seconds":
                assert_same(a[key], b[key])  # type: ignore[index]
    elif isinstance(a, list | tuple):
        for x, y in zip(a, b, strict=True):  # type: ignore[call-overload]
            assert_same(x, y)
    else:
        assert a == b


@pytest.mark.parametrize("family", ["aec1", "aec2"])
def test_a_resumed_run_is_the_uninterrupted_run(photos: Path, tmp_path: Path, family: str) -> None:
    whole = run(photos, tmp_path / "whole", steps=8, family=family)
    run(photos, tmp_path / "parts", steps=3, family=family, workers=2)
    parts = run(photos, tmp_path / "parts", steps=8)
    assert (whole["step"], whole["family"]) == (8, family)
    assert_same(whole, parts)
    decayed = run(photos, tmp_path / "whole", decay=4)
    run(photos, tmp_path / "parts", decay=4, minutes=0.0)  # stops at once
    assert_same(decayed, run(photos, tmp_path / "parts", decay=4))


def test_decay_leaves_the_trunk_alone(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path, steps=4)
    before = (tmp_path / "trunk.pt").read_bytes()
    state = run(photos, tmp_path, decay=4)
    assert state["step"] == 8
    assert state["optimisers"][0]["param_groups"][0]["lr"] == pytest.approx(Settings.muon_rate / 4)
    assert (tmp_path / "trunk.pt").read_bytes() == before
    rows = log_of(tmp_path)
    assert [(row["phase"], row["step"]) for row in rows] == [("trunk", 4), ("decay", 8)]
    assert rows[-1]["bpp"][-1] > rows[-1]["bpp"][0] > 0
    assert Image.open(tmp_path / "curves.png").size[0] > 500


def test_training_lowers_the_objective_on_held_out_pictures(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "plot_run", lambda run: None)
    run(photos, tmp_path, steps=40, report_every=4)
    rows = log_of(tmp_path)
    assert rows[-1]["score"] < rows[0]["score"]
    assert rows[-1]["skips"] == 0


@pytest.mark.parametrize("family", ["aec1", "aec2"])
def test_both_families_are_trained_for_the_eye(photos: Path, tmp_path: Path, family: str) -> None:
    changes = FAST | {"patch": 256}
    state = run(photos, tmp_path, steps=6, family=family, objective="visual", changes=changes, report_every=3)
    assert state["encoder"]["objective"] == "visual"
    first, last = log_of(tmp_path)
    assert last["J"] != first["J"]
    assert all(0 < row["ms_ssim"][-1] < 1 and row["ssimulacra2"][-1] < 100 for row in (first, last))
    assert last["ssimulacra2"][-1] > last["ssimulacra2"][0]
    export(tmp_path / "trunk.pt", [photos], tmp_path / "x.safetensors", log=lambda line: None)
    weights = read_weights(tmp_path / "x.safetensors")
    assert (weights.metadata["family"], json.loads(weights.metadata["encoder"])["objective"]) == (family, "visual")
    if family == "aec1":  # goes on for the eye without being told, on latents that a search of its own found
        tuned = run(photos, tmp_path / "tuned", tune=2, start=tmp_path / "x.safetensors", changes=changes)
        assert (tuned["objective"], tuned["step"], tuned["skips"]) == ("visual", 2, 0)
    with pytest.raises(AecodecError, match="patches of 128 pixels; expected a multiple of 128, at least 256"):
        run(photos, tmp_path / "other", steps=1, objective="visual")


PROCESS = """
import os
import signal
import sys
from pathlib import Path
import torch
from aecodec.errors import AecodecError
from aecodec.families.hyperprior import objective
from aecodec.training import loop
sources, folder, network, changes, mortal = sys.argv[1], *map(eval, sys.argv[2:])
if mortal is None:
    objective.noise_like = lambda x: (1000 * x.detach()).frac().abs() - 0.5
torch.set_num_threads(1)
forward = loop.Loss.forward
def dies(*args):
    if os.environ["RANK"] == mortal and Path(folder, "trunk.pt").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return forward(*args)
loop.Loss.forward = dies
try:
    loop.train([sources], folder, steps=2, save_minutes=0, network=network, changes=changes)
except AecodecError as error:
    sys.exit(str(error))
"""


def start_two(photos: Path, folder: Path, changes: dict, mortal: str | None) -> list[subprocess.Popen]:
    """The processes of a run of two steps, as torchrun starts them. mortal: the rank that is killed in the second;
    None: none, and noise depends on what it is added to."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    words = map(repr, (str(folder), SMALL.values(), changes, mortal))
    command = [sys.executable, "-c", PROCESS, str(photos), *words]
    environments = [{**os.environ, **meeting, "RANK": rank, "LOCAL_RANK": rank} for rank in "01"]
    return [subprocess.Popen(command, env=each, stderr=subprocess.PIPE, text=True) for each in environments]


def test_two_processes_train_what_one_does_with_twice_the_batch(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """And so does one in two parts. Noise depends on what it is added to here, so that all have the same."""
    monkeypatch.setattr(objective, "noise_like", lambda x: (1000 * x.detach()).frac().abs() - 0.5)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # with more, what is rounded to one integer here is to another there
    threads = torch.get_num_threads()
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    torch.set_num_threads(1)
    changes = FAST | {"batch": 4, "bfloat16": False}
    both = start_two(photos, tmp_path / "two", changes, None)
    one = run(photos, tmp_path / "one", steps=2, changes=changes)
    parts = run(photos, tmp_path / "parts", steps=2, changes=changes, accumulate=2)
    told = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    two = torch.load(tmp_path / "two" / "trunk.pt", weights_only=True)
    for other in (two, parts):
        assert other["mean_norm"] == pytest.approx(one["mean_norm"], rel=1e-4)
        # Gradients so far; Muon, which computes in bfloat16, magnifies in what they differ by the order of sums.
        for mine, its, name in zip(one["optimisers"], other["optimisers"], ("momentum_buffer", "exp_avg"), strict=True):
            for number, state in mine["state"].items():
                difference = (state[name] - its["state"][number][name]).norm()
                assert difference <= 0.01 * state[name].norm(), (name, number)
    assert log_of(tmp_path / "two")[0]["score"] == pytest.approx(log_of(tmp_path / "one")[0]["score"], abs=0.05)
    with pytest.raises(AecodecError, match="5 patches a step; expected a multiple of 2"):
        run(photos, tmp_path / "odd", changes=FAST | {"batch": 5}, accumulate=2)


def test_two_processes_of_which_one_is_killed_go_on_exactly(photos: Path, tmp_path: Path) -> None:
    """And the other one says what happened, in a line."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    killed = start_two(photos, parts, FAST, "1")
    told = [process.communicate(timeout=300)[1] for process in killed]
    assert [process.returncode for process in killed] == [1, -signal.SIGKILL], told
    assert "another process of the run ended" in told[0]
    assert "Traceback" not in told[0]
    assert torch.load(parts / "trunk.pt", weights_only=True)["step"] == 1
    for folder in (parts, whole):
        both = start_two(photos, folder, FAST, "none")
        told = [process.communicate(timeout=300)[1] for process in both]
        assert [process.returncode for process in both] == [0, 0], told
    assert_same(*(torch.load(folder / "trunk.pt", weights_only=True) for folder in (whole, parts)))


def test_a_device_that_is_not_there_is_an_error(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(AecodecError, match="device 'cuda:77' is not available"):
        run(photos, tmp_path, steps=1, device="cuda:77")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_stops_between_two_steps(photos: Path, tmp_path: Path, name: str) -> None:
    def interrupt(line: str) -> None:
        if line.startswith("step"):
            os.kill(os.getpid(), getattr(signal, name))

    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "a", steps=8, log=interrupt, report_every=4)
    assert signals.received.name == name
    resumed = run(photos, tmp_path / "a", steps=8)
    assert_same(resumed, run(photos, tmp_path / "b", steps=8))


def test_a_monstrous_gradient_changes_nothing(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run(photos, tmp_path, steps=4)
    true_loss = loop.Loss.forward
    monkeypatch.setattr(loop.Loss, "forward", lambda *args: 1000 * true_loss(*args))
    state = run(photos, tmp_path, steps=5)
    assert int(state["skips"]) == 1
    monkeypatch.setattr(loop.Loss, "forward", lambda *args: float("nan") * true_loss(*args))
    state = run(photos, tmp_path, steps=6)
    assert int(state["skips"]) == 2
    for key in ("model", "average", "optimisers"):  # the momentum must not move them either
        assert_same(state[key], before[key])


def test_tuning_leaves_gains_and_hyper_latents_as_they_are(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path, steps=4)
    decayed = run(photos, tmp_path, decay=4)
    run(photos, tmp_path, tune=6, minutes=0.0)  # stops at once
    tuned = run(photos, tmp_path, tune=6)
    assert tuned["step"] == 14
    changed = {name for name, value in decayed["average"].items() if not torch.equal(value, tuned["average"][name])}
    assert {"synthesis.last.weight", "scale_model.index_head.bias", "entropy_model.first_mean.2.bias"} <= changed
    assert {"analysis.linear.weight", "analysis.nonlinear.0.weight"} <= changed
    assert not any(name.startswith(("log_encoder", "entropy_model.hyper_analysis")) for name in changed)


def test_tuning_goes_on_with_a_weights_file(small_weights: Path, photos: Path, tmp_path: Path) -> None:
    whole = run(photos, tmp_path / "whole", tune=4, start=small_weights)
    assert whole["step"] == 4
    begun = run(photos, tmp_path / "parts", tune=4, start=small_weights, minutes=0.0)  # stops at once
    assert not torch.equal(begun["prices"], whole["prices"])  # counted anew half way
    assert_same(whole, run(photos, tmp_path / "parts", tune=4, start=small_weights))


def test_without_a_trunk_there_is_nothing_to_decay_from(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(AecodecError, match=r"trunk\.pt: nothing to decay from"):
        run(photos, tmp_path, decay=4)
    with pytest.raises(AecodecError, match="neither a folder, a tar file nor an archive"):
        run(photos / "a.png", tmp_path, steps=1)


def test_patches_have_to_be_of_two_tiles(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(AecodecError, match="patches of 192 pixels; expected a multiple of 128"):
        loop.train([photos], tmp_path, steps=1, changes=FAST | {"patch": 192})


def test_the_exported_model_costs_what_was_measured_in_training(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path, steps=30)
    path = tmp_path / "model.safetensors"
    runner = CliRunner()
    result = runner.invoke(main, ["export", str(tmp_path / "trunk.pt"), str(photos), "-o", str(path)])
    assert result.exit_code == 0, result.output
    codec = Codec("cpu", path)
    network = Aec1(SMALL)
    network.load_state_dict(torch.load(tmp_path / "trunk.pt", weights_only=True)["average"])
    picture = np.asarray(Image.open(photos / "a.png"))[:256, :256]
    for quality in (30, 70):
        position = torch.tensor([(quality - 1) / 99])
        estimate = measure(
            network, network_input(torch.from_numpy(picture).permute(2, 0, 1)[None]), position, noise=False
        )
        size = len(codec.compress(picture, quality))
        # Tables fitted to the symbols and rate-distortion optimised rounding make files smaller than the estimate.
        assert 0.6 * estimate.bpp.item() < 8 * (size - 24) / 256**2 < 1.05 * estimate.bpp.item() + 0.05
    with pytest.raises(ModelError, match="not a checkpoint"):
        export(path, [photos], tmp_path / "x.safetensors", log=lambda line: None)


def test_a_run_starts_from_a_weights_file(
    small_network: Aec1, small_weights: Path, photos: Path, tmp_path: Path
) -> None:
    begun = run(photos, tmp_path, start=small_weights, minutes=0.0)  # stops at once
    assert begun["step"] == 0
    for name, value in small_network.state_dict().items():
        torch.testing.assert_close(begun["model"][name], value, rtol=2**-7, atol=0.02, msg=name)  # int8
    with pytest.raises(ModelError, match="no released model is called 'aec0'"):
        run(photos, tmp_path / "other", start="aec0")


@pytest.mark.parametrize("cut", [2, 3])
def test_the_entropy_model_sees_cut_patches_as_two_tiles(small_network: Aec1, cut: int) -> None:
    """And the synthesis sees the whole, made of what each half is known by."""
    pixels = torch.randint(0, 256, (2, 3, 128, 256), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    x, position = network_input(pixels if cut == 3 else pixels.transpose(2, 3)), torch.tensor([0.1, 0.9])
    seen: list[torch.Tensor] = []
    hook = small_network.synthesis.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    with torch.no_grad():
        bpp = measure(small_network, x, position, noise=False, cut=cut).bpp
        y = small_network.analysis(x) * small_network.encoder_gain(position)
        features = [
            small_network.scale_model(small_network.entropy_model.hyper_latents(half).round(), position)[0]
            for half in y.chunk(2, cut)
        ]
    hook.remove()
    y_hat, _, whole, positions = seen
    assert y_hat.shape == y.shape
    assert (y_hat - y).abs().max() <= 0.5 + 1e-4
    assert torch.equal(whole, torch.cat(features, cut))
    assert torch.equal(positions, position)
    assert bpp.shape == (2,)


def test_tuning_sees_the_latents_that_a_search_finds() -> None:
    prices = load_released(DEFAULTS["psnr"], "cpu").family.prices
    network = trainable(read_weights(*locate(DEFAULTS["psnr"])))
    photo = np.array(Image.open(Path(__file__).parents[1] / "examples" / "coffee.png"))[:256, :256]
    x = network_input(torch.from_numpy(photo).permute(2, 0, 1)[None]).repeat(3, 1, 1, 1)
    position = torch.tensor([0.2, 0.5, 0.8])
    for cut in (None, 3):
        losses = []
        for effort in (0, 1, 2):
            measures = measure(network, x, position, noise=False, prices=prices, effort=effort, cut=cut)
            losses.append(loss_per_patch(network, measures, position))
        assert (losses[2] < losses[1]).all()
        assert (losses[1] < losses[0]).all()
        losses[2].sum().backward()
        assert network.synthesis.last.weight.grad is not None


def test_tuning_teaches_the_analysis_the_rate_of_noisy_latents() -> None:
    """Noise moves the gradient of the analysis alone: neither what is measured nor the decoder's."""
    prices = load_released(DEFAULTS["psnr"], "cpu").family.prices
    network = trainable(read_weights(*locate(DEFAULTS["psnr"])))
    photo = np.array(Image.open(Path(__file__).parents[1] / "examples" / "coffee.png"))[:128, :128]
    x, position = network_input(torch.from_numpy(photo).permute(2, 0, 1)[None]), torch.tensor([0.5])
    with torch.no_grad():
        expected = measure(network, x, position, noise=False, prices=prices, effort=1)
    gradients = []
    for seed in range(2):
        torch.manual_seed(seed)
        network.zero_grad()
        measures = measure(network, x, position, noise=False, prices=prices, effort=1)
        torch.testing.assert_close(measures.bpp, expected.bpp)
        torch.testing.assert_close(measures.mse, expected.mse)
        measures.bpp.sum().backward()
        gradients.append({name: p.grad for name, p in network.named_parameters() if p.grad is not None})
    one, other = gradients
    assert not torch.equal(one["analysis.linear.weight"], other["analysis.linear.weight"])
    for name in ("entropy_model.first_mean.2.bias", "scale_model.index_head.bias"):
        assert torch.equal(one[name], other[name])


def test_unshuffle_is_undone_and_is_torchs_own() -> None:
    x = torch.rand(2, 6, 16, 24)
    assert torch.equal(unshuffle(x, 8), torch.nn.functional.pixel_unshuffle(x, 8))
    assert torch.equal(pixels_of_squares(regroup(unshuffle(x[:, :3], 8))), x[:, :3])
    assert torch.equal(shuffle(unshuffle(x, 4), 4), x)


def test_covariance_is_that_of_the_blocks() -> None:
    tiles = torch.randint(0, 256, (3, 3, 512, 512), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    covariance = block_covariance(iter(tiles[:, None].repeat(10, 1, 1, 1, 1)), count=20_000)
    off = covariance - torch.diag(covariance.diag())
    torch.testing.assert_close(covariance.diag(), torch.full((768,), 1 / 12).double(), rtol=0.05, atol=0)
    assert off.abs().max() < 0.02


def test_laplace_bits_are_those_of_a_distribution() -> None:
    symbols = torch.arange(-4000, 4001).double()
    for index in (0, 20, 45, 63):
        scale = scale_of_index(torch.tensor(float(index), dtype=torch.float64))
        total = torch.exp2(-laplace_bits(symbols, scale)[laplace_bits(symbols, scale) < 29]).sum()
        assert total.item() == pytest.approx(1, abs=1e-4)


def test_optimiser_matrices_share_the_memory_of_the_kernels() -> None:
    network = Aec1(SMALL).to(memory_format=torch.channels_last)
    kernels = groups(network).matrices
    for kernel in kernels:
        matrix_of(kernel).data.fill_(3.0)
        assert (kernel == 3).all()
    assert len(kernels) > 20


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize("content", [b"", b"hello", {"model_config": Evil()}, [1, 2], torch.zeros(3), {"model": {}}])
def test_what_is_no_checkpoint_is_refused_and_runs_no_code(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("trunk.pt")
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    for work in (lambda: export(path, [photos], Path("x.safetensors")), lambda: run(photos, tmp_path, steps=1)):
        with pytest.raises(ModelError, match="not a checkpoint"):
            work()
    assert not Path("ran").exists()


def test_a_checkpoint_is_on_the_disk_before_it_takes_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "trunk.pt", []
    fsync, replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))
        fsync(descriptor)

    def put(source: Path, target: Path) -> None:
        assert synced == [(source.stat().st_ino, source.stat().st_size)]
        replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", put)
    state = dict.fromkeys(checkpoint.FIELDS, 1)
    checkpoint.save(path, state)
    assert checkpoint.load(path) == state
    assert [path.name for path in tmp_path.iterdir()] == ["trunk.pt"]
    assert os.name == "nt" or synced[1][0] == tmp_path.stat().st_ino


@pytest.mark.parametrize(("family", "name"), [("aec1", "visual"), ("aec2", "psnr")])
def test_a_step_is_one_graph_to_a_compiler(family: str, name: str) -> None:
    """So that torch.compile, which GPUs train with, has all of it in hand."""
    own = find_trainable(family)
    network = own.network(SMALL_AEC2 if family == "aec2" else SMALL.values())
    how = {"encoder": own.encoder(name), "noise": True}
    whole = torch.compile(loop.Loss(own, network, True, how), backend="eager", fullgraph=True)
    patches = torch.randint(0, 256, (1, 3, 256, 256), dtype=torch.uint8)
    assert whole(patches, torch.tensor([0.5]), None, 3).isfinite()
