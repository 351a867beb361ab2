"""The settings that PCA, PCA-whitening and ZCA share."""

from typing import Self

from pydantic import PrivateAttr
from torch import Tensor, nn

from goodfit.errors import RecipeError
from goodfit.ingredient import Count
from goodfit.preprocess import Preprocess, Values, unloaded
from goodfit.preprocess._whitening import Linear, principal


class Principal(Preprocess):
    """Base: a subclass says its matrix, given the principal variances and axes."""

    shape: tuple[Count, Count, Count] | None = None  # channels, rows, columns; from the images
    _values: Values = PrivateAttr(default_factory=Values)

    def matrix_of(self, variances: Tensor, axes: Tensor) -> Tensor:
        """The matrix (o, d) that centered images are multiplied with."""
        raise NotImplementedError

    def rows(self, d: int) -> int:
        """How many numbers come out for d."""
        return d

    def fitted(self, images: Tensor) -> Self:
        mean, variances, axes = principal(images)
        if self.rows(len(mean)) > len(mean):
            raise RecipeError(
                f"{self.name} cannot keep {self.rows(len(mean))} of {len(mean)} components",
                fix=f"set components to at most {len(mean)}, or to 0 for all",
            )
        found = self.replaced(shape=tuple(images.shape[1:]))
        found._values = Values(mean=mean, matrix=self.matrix_of(variances, axes))
        return found

    def __call__(self) -> nn.Module:
        mean = self._values.get("mean", unloaded(self.name, self.shape)).flatten()
        matrix = unloaded(self.name, (self.rows(len(mean)), len(mean)))
        assert self.shape is not None  # `unloaded` has refused it
        return Linear(self._values.get("matrix", matrix), mean, self.shape)
