"""The digits data set: 1,797 handwritten digits of 8 x 8 gray pixels, part of scikit-learn.

No download. A fifth is held out for testing. One run takes seconds, so it serves demonstrations
and tests.

At test time the held-out fifth is used once.

Source: Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI.

>>> from goodfit.data.digits import Digits
>>> splits = Digits()()
>>> len(splits.train), len(splits.val), len(splits.test), splits.classes[:3]
(1259, 179, 359, ('0', '1', '2'))
"""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from goodfit.data._base import Data, Splits
from goodfit.data.arrays import array_splits
from goodfit.errors import DataError
from goodfit.ingredient import Fraction


class Digits(Data):
    test: Fraction = 0.2

    def __call__(self) -> Splits:
        rows = _rows()
        images = np.round(rows[:, :64] * (255 / 16)).reshape(-1, 8, 8)  # 0 to 16 before
        found = {"train": (images.astype(np.uint8), rows[:, 64].astype(np.int64))}
        return array_splits(self, found, tuple("0123456789"), None, "digits")


def _rows() -> np.ndarray:
    """64 pixels and the digit, from scikit-learn's file: importing scikit-learn takes seconds."""
    found = find_spec("sklearn")
    folder = Path(((found and found.submodule_search_locations) or ["scikit-learn"])[0])
    try:
        with gzip.open(folder / "datasets" / "data" / "digits.csv.gz", "rt") as file:
            return np.loadtxt(file, delimiter=",")
    except OSError as error:
        raise DataError(
            "the digits are not there", seen=str(error), fix="pip install scikit-learn"
        ) from None
