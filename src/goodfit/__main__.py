"""python -m goodfit, for torchrun."""

from goodfit.cli import main

main()
