"""Recipes: one short, typed, immutable record that holds every decision of a training run."""
