"""`python -m imprior`, which is also what torchrun starts."""

from imprior.cli import main

main()
