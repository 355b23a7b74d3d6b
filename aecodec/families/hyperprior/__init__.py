"""What aec1 and aec2 share: latents with an exact hyperprior and two-pass means, hidden signs, rounding and search."""
