"""goodfit: train image classifiers by the book.

The names below are all there is at the top; single pieces are imported from their files, as
`from goodfit.augment.cutout import Cutout`. Nothing heavy is imported before it is used.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from goodfit.batch import Batch as Batch
    from goodfit.check import check as check
    from goodfit.errors import GoodfitError as GoodfitError
    from goodfit.fit import fit as fit
    from goodfit.metrics import evaluate as evaluate
    from goodfit.predict import Classifier as Classifier
    from goodfit.predict import predict as predict
    from goodfit.rand import Rng as Rng
    from goodfit.recipe.read import read as read
    from goodfit.recipe.recipe import Recipe as Recipe
    from goodfit.run.audited import audit as audit
    from goodfit.run.load import Run as Run
    from goodfit.run.start import resume as resume
    from goodfit.run.start import train as train

_PLACES = {
    "audit": "goodfit.run.audited",
    "Batch": "goodfit.batch",
    "check": "goodfit.check",
    "GoodfitError": "goodfit.errors",
    "fit": "goodfit.fit",
    "evaluate": "goodfit.metrics",
    "Classifier": "goodfit.predict",
    "predict": "goodfit.predict",
    "Rng": "goodfit.rand",
    "read": "goodfit.recipe.read",
    "Recipe": "goodfit.recipe.recipe",
    "Run": "goodfit.run.load",
    "resume": "goodfit.run.start",
    "train": "goodfit.run.start",
}
__all__ = [*sorted(_PLACES), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'goodfit' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return __all__


class _Front(ModuleType):
    """Keeps `goodfit.fit` the function when importing the file `fit.py` announces itself."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _PLACES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Front
