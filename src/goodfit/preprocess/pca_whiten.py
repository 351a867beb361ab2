"""Coordinates along the principal axes, each divided by its standard deviation.

    y = (L + eps)^(-1/2) U^T (x - mean),   covariance = U L U^T, pixels in 0..1

Without eps the axes with hardly any variance, which are mostly noise and compression, would be
blown up to the size of the others; eps depends on the scale of the pixels, and 1e-3 leaves
deviations below 0.03 small. Like `pca` it is for nets that flatten; `zca` keeps images images. The
matrix is a buffer of the module and saved with the model. At test time the same one is used.

Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images".
Lecture: Data Preprocessing.
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from goodfit.ingredient import Positive
from goodfit.preprocess._principal import Principal


class PCAWhiten(Principal):
    components: Annotated[int, Field(ge=0)] = 0  # 0 keeps all
    eps: Positive = 1e-3  # added to the variances of pixels in 0..1

    def rows(self, d: int) -> int:
        return self.components or d

    def matrix_of(self, variances: Tensor, axes: Tensor) -> Tensor:
        scaled = axes / (variances + self.eps).sqrt()
        return scaled.T[: self.rows(len(variances))]
