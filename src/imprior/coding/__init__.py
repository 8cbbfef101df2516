"""Entropy coding and its container."""
