"""Small JAX helpers for the road from MLE to EM to VAE, one idea per module."""
