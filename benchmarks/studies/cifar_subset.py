"""Write part of CIFAR-10 as small images, on which studies of many runs are affordable.

python benchmarks/studies/cifar_subset.py cifar10/ cifar-16px.npz

Of train/ the first images of every class by file name, some to train on and some to choose by; of
test/ all. Images are shrunk to 16 x 16 by the mean of every 2 x 2 pixels.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("data", type=Path, help="CIFAR-10 as folders train/ and test/")
    ask.add_argument("out", type=Path)
    ask.add_argument("--train", type=int, default=500, help="images per class")
    ask.add_argument("--val", type=int, default=250, help="images per class")
    args = ask.parse_args()
    classes = sorted(folder.name for folder in (args.data / "train").iterdir())
    parts: dict[str, list[NDArray[np.uint8]]] = {"train": [], "val": [], "test": []}
    labels: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for name in classes:
        files = sorted((args.data / "train" / name).iterdir())
        found = {"train": files[: args.train], "val": files[args.train :][: args.val]}
        found["test"] = sorted((args.data / "test" / name).iterdir())
        for part, paths in found.items():
            parts[part] += [_small(path) for path in paths]
            labels[part] += [name] * len(paths)
    arrays = {f"x_{part}": np.stack(images) for part, images in parts.items()}
    arrays |= {f"y_{part}": np.array(names) for part, names in labels.items()}
    np.savez(args.out, **arrays)
    print({part: images.shape for part, images in arrays.items() if part.startswith("x")})


def _small(path: Path) -> NDArray[np.uint8]:
    pixels = np.asarray(Image.open(path).convert("RGB"), np.float64)
    means = pixels.reshape(16, 2, 16, 2, 3).mean((1, 3))
    return np.round(means).astype(np.uint8)


if __name__ == "__main__":
    main()
