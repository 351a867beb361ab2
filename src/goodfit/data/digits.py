"""The digits data set: 1,797 handwritten digits of 8 x 8 gray pixels, part of scikit-learn.

No download. A fifth is held out for testing. One run takes seconds, so it serves demonstrations
and tests.

At test time the held-out fifth is used once.

Source: Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI.

>>> from goodfit.data.digits import Digits
>>> splits = Digits()()
>>> len(splits.train), len(splits.val), len(splits.test), splits.classes[:3]
(1258, 180, 359, ('0', '1', '2'))
"""

import numpy as np

from goodfit.data._base import Data, Splits
from goodfit.data.arrays import array_splits
from goodfit.ingredient import Fraction


class Digits(Data):
    test: Fraction = 0.2

    def __call__(self) -> Splits:
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        images = np.round(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)  # 0..16 before
        names = tuple("0123456789")
        return array_splits(self, {"train": (images, labels)}, names, None, "digits")
