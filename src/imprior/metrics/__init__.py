"""How far an image is from another."""
