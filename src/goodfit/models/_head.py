"""The classifier of the nets before 2014: two wide hidden layers on the flattened picture."""

from torch import nn


def wide_head(inputs: int, hidden: int, classes: int, dropout: float) -> nn.Sequential:
    """Linear → relu → dropout, twice, then the classes."""
    return nn.Sequential(
        *(nn.Linear(inputs, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)),
        *(nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)),
        nn.Linear(hidden, classes),
    )
