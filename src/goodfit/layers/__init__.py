"""Layers: ordinary modules, the random ones with an explicit z, and ways to put them into a net."""
