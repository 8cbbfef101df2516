"""Likelihoods of images and priors of latents: `sample(n, rng)`, `log_prob`, with their parts kept apart."""
