"""What the eye sees, differentiable: measures of how different two pictures look, and a mixture of them."""

from aecodec.perceptual.similarity import ms_ssim, score, ssimulacra2

__all__ = ["ms_ssim", "score", "ssimulacra2"]
