"""photo-denoiser for grey photographs."""

from imprior.recipes import photo_denoiser

recipe = photo_denoiser.recipe.variant("photo-denoiser-grey", "data.channels=1")
