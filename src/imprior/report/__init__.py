"""Figures, grids of pictures, pages: what people look at."""
