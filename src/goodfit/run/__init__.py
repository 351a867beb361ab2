"""Runs: a recipe becomes pieces, the pieces a run directory. Only this floor knows everything."""
