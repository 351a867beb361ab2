"""The types of settings that augmentations share."""

from typing import Annotated

from pydantic import AfterValidator, Field

from goodfit.errors import RecipeError
from goodfit.ingredient import Count, Fraction, Positive


def ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    """A range with its smaller end first. Raises RecipeError when it is upside down."""
    low, high = bounds
    if low > high:
        raise RecipeError(
            "a range is upside down",
            range=f"[{low}, {high}]",
            wanted="the smaller number first",
            fix=f"write [{high}, {low}]",
        )
    return bounds


FractionRange = Annotated[tuple[Fraction, Fraction], AfterValidator(ordered)]
PositiveRange = Annotated[tuple[Positive, Positive], AfterValidator(ordered)]
CountRange = Annotated[tuple[Count, Count], AfterValidator(ordered)]
Turns = Annotated[float, Field(ge=0, le=0.5)]  # of the color circle, to either side
Side = Count | tuple[Count, Count]  # one number for a square, or rows and columns


def rows_columns(side: Side | None, like: tuple[int, int]) -> tuple[int, int]:
    """The size that a setting means; None means the image's own."""
    if side is None:
        return like
    return (side, side) if isinstance(side, int) else side
