"""Whiten the images while changing them as little as possible: they still look like images.

    y = U (L + eps)^(-1/2) U^T (x - mean),   covariance = U L U^T, pixels in 0..1

Neighboring pixels become uncorrelated and edges stand out. Of all whitenings this one stays
nearest to the input, so convolutions can use it. eps as in `pca-whiten`; for small images only
(the matrix has the square of the number of pixels). Batch norm inside the net made it rarely
worth while. The matrix is a buffer of the module and saved with the model. At test time the
same one is used.

Source: Bell & Sejnowski 1997, "The 'independent components' of natural scenes are edge filters".
Lecture: Data Preprocessing.
"""

from torch import Tensor

from goodfit.ingredient import Positive
from goodfit.preprocess._principal import Principal


class ZCA(Principal):
    eps: Positive = 1e-3  # added to the variances of pixels in 0..1

    def matrix_of(self, variances: Tensor, axes: Tensor) -> Tensor:
        return axes / (variances + self.eps).sqrt() @ axes.T
