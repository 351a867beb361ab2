"""Data: a Source is a sized, indexable set of images with classes; a Loader makes device batches.

splits = guess("photos/")()                    # any data set: Splits(train, val, test, ...)
for batch in Loader(splits.train, 256, size=32, shuffle=True): ...
"""

from goodfit.data._base import Data, Encoded, Pixelated, Skipped, Source, Splits
from goodfit.data._guess import guess
from goodfit.data._reader import Asked, Boxes
from goodfit.data.adapted import Adapted, matched
from goodfit.data.images import read_images
from goodfit.data.loader import Loader

__all__ = [
    "Adapted",
    "Asked",
    "Boxes",
    "Data",
    "Encoded",
    "Loader",
    "Pixelated",
    "Skipped",
    "Source",
    "Splits",
    "guess",
    "matched",
    "read_images",
]
