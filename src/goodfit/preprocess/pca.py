"""Turn images into their coordinates along the principal axes of the training images.

    y = U^T (x - mean),   covariance = U L U^T, largest variance first

With `components` only the first are kept. Coordinates have no neighbors, so this is for nets that
flatten, not for convolutions: with all components the shape (c, h, w) is kept as a container,
with fewer it is (components, 1, 1). The matrix is a buffer of the module and saved with the model.
At test time the same axes are used.

Source: Pearson 1901, "On lines and planes of closest fit". Lecture: Data Preprocessing.
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from goodfit.preprocess._principal import Principal


class PCA(Principal):
    components: Annotated[int, Field(ge=0)] = 0  # 0 keeps all

    def rows(self, d: int) -> int:
        return self.components or d

    def matrix_of(self, variances: Tensor, axes: Tensor) -> Tensor:
        return axes.T[: self.rows(len(variances))]
