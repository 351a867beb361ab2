"""A classification data set of torchvision, by name.

    goodfit train cifar10 --download

It is looked for in `root` and downloaded there only if `download` is set. The set's own test
images, where it has them, are the test split; validation images are held out of its training ones.

At test time the set's own test images are used once; they never choose anything.

Source: https://docs.pytorch.org/vision/stable/datasets.html.
"""

import inspect
from pathlib import Path
from typing import Any

from goodfit.data._base import Data, Splits
from goodfit.data.arrays import array_splits
from goodfit.data.dataset import dataset_splits
from goodfit.errors import DataError, RecipeError

SETS = {
    name.lower(): name
    for name in (
        *("MNIST", "FashionMNIST", "KMNIST", "QMNIST", "USPS", "CIFAR10", "CIFAR100", "SVHN"),
        *("STL10", "Flowers102", "Food101", "OxfordIIITPet", "DTD", "EuroSAT", "GTSRB"),
        *("FGVCAircraft", "StanfordCars", "Caltech101", "Country211", "RenderedSST2", "PCAM"),
    )
}


class TorchvisionSet(Data):
    """dataset: its name; root: the folder of torchvision data; download: fetch it if missing."""

    dataset: str
    root: Path = Path("~/.cache/goodfit/torchvision")
    download: bool = False

    def __call__(self) -> Splits:
        from torchvision import datasets

        word = self.dataset.lower().replace("-", "").replace("_", "")
        if word not in SETS:
            raise RecipeError(
                f"torchvision has no classification data set {self.dataset!r}",
                known=", ".join(SETS),
                fix="choose one of these",
            )
        kind = getattr(datasets, SETS[word])
        found = {part: self._opened(kind, keys) for part, keys in _arguments(kind).items()}
        plain = {part: _plain(dataset) for part, dataset in found.items()}
        if all(arrays is not None for arrays in plain.values()):
            arrays = {part: pair for part, pair in plain.items() if pair is not None}
            names = getattr(found["train"], "classes", None)
            return array_splits(self, arrays, names and tuple(names), None, SETS[word])
        return dataset_splits(self, found, SETS[word])

    def _opened(self, kind: Any, keys: dict[str, Any]) -> Any:
        root = self.root.expanduser()
        try:
            if self.download:
                root.mkdir(parents=True, exist_ok=True)
                keys = keys | {"download": True}
            return kind(root=str(root), **keys)
        except (RuntimeError, OSError) as error:
            raise DataError(
                f"{kind.__name__} cannot be opened",
                at=str(root),
                seen=str(error).splitlines()[0] if str(error) else type(error).__name__,
                fix="check the connection and the folder"
                if self.download
                else "add --download (`download = true`), or set `root` to where it lies",
            ) from None


def _arguments(kind: Any) -> dict[str, dict[str, Any]]:
    """How each split of a torchvision data set is asked for."""
    known = inspect.signature(kind.__init__).parameters
    if "train" in known:
        return {"train": {"train": True}, "test": {"train": False}}
    if "split" in known:
        has_val = kind.__name__ in ("Flowers102", "DTD", "FGVCAircraft", "Country211", "PCAM")
        first = "trainval" if kind.__name__ == "OxfordIIITPet" else "train"
        val = "valid" if kind.__name__ == "Country211" else "val"
        parts = {"train": {"split": first}, "test": {"split": "test"}}
        return parts | ({"val": {"split": val}} if has_val else {})
    return {"train": {}}


def _plain(dataset: Any) -> tuple[Any, Any] | None:
    """Images and labels of a data set that holds both as arrays."""
    images = getattr(dataset, "data", None)
    labels = getattr(dataset, "targets", getattr(dataset, "labels", None))
    if images is None or labels is None or not hasattr(images, "shape"):
        return None
    return images, labels
