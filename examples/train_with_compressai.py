"""Train a network of aecodec's with the parts that CompressAI's users have: data set, loss, optimisers, evaluation.

    python examples/train_with_compressai.py PICTURES -o mine.safetensors

PICTURES holds a folder `train` and a folder `test`. What comes out is a weights file:

    aecodec compress photo.png --model mine.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from compressai.datasets import ImageFolder
from compressai.losses import RateDistortionLoss
from compressai.optimizers import net_aux_optimizer
from compressai.utils.eval_model.__main__ import inference, read_image
from torch.utils.data import DataLoader
from torchvision import transforms

from aecodec.training.modules import CompressionModel

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("pictures", type=Path)
parser.add_argument("-o", "--output", type=Path, required=True)
parser.add_argument("--model", default="aec1-11", help="what training begins with: a released model or a weights file")
parser.add_argument("--quality", type=float, default=50, help="the one that is trained, 1 to 100")
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--patch", type=int, default=256, help="pixels, a multiple of 64")
args = parser.parse_args()

# The network, as any of CompressAI's: forward() returns {"x_hat", "likelihoods"}.
model = CompressionModel.of(args.model)
model.quality = args.quality

# One loss, two optimisers. `model.lmbda` is what makes this quality what it is; another value moves it.
criterion = RateDistortionLoss(lmbda=model.lmbda)
adam = {"type": "Adam", "lr": 1e-5}
optimizers = net_aux_optimizer(model, {"net": adam, "aux": {"type": "Adam", "lr": 1e-3}})

crop = transforms.Compose([transforms.RandomCrop(args.patch), transforms.ToTensor()])
loader = DataLoader(ImageFolder(args.pictures, split="train", transform=crop), args.batch, shuffle=True)

model.train()
for epoch in range(args.epochs):
    for batch in loader:
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        losses = criterion(model(batch), batch)
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizers["net"].step()
        model.aux_loss().backward()
        optimizers["aux"].step()
    print(f"epoch {epoch}: " + ", ".join(f"{name} {float(value):.4f}" for name, value in losses.items()))

# Evaluation as by `compressai.utils.eval_model`: coded for real, on pictures that did not train.
model.eval()
model.update()
for path in sorted((args.pictures / "test").iterdir()):
    found = inference(model, read_image(path))
    print(f"{path.name}: " + ", ".join(f"{name} {value:.4f}" for name, value in found.items()))

print(f"{args.output}: SHA-256 {model.save(args.output)}")
