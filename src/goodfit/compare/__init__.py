"""Comparisons: which ingredient earns its keep, with paired seeds, intervals and cost."""
