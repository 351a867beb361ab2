"""How many images a second go through whole pipelines, beside torchvision and kornia?

small    32 pixels: pad and crop, flip, cutout, normalize; then the same with mixup, with cutmix
photos   256 to 224 pixels: random resized crop, flip, rotation, shear, color jitter, light, cutout,
         normalize

All start from the same uint8 images in memory and end with a normalized float batch. torchvision
goes image by image through a DataLoader (no worker processes: all is counted on one thread), its
mixing by batch with one draw; kornia goes by batch with a draw per image. With --device cuda the
images and all work are on the GPU, and torchvision, which goes image by image, is left out.
"compiled" is ours with the pixels' work and the normalization put through torch.compile.

python benchmarks/augment_pipelines.py >> benchmarks/results/augment_pipelines.jsonl
"""

import argparse
from collections.abc import Callable
from itertools import count as counting

import kornia.augmentation as K
import torch
import torchvision.transforms.v2 as T
from torch.utils.data import DataLoader, Dataset

from augment_timing import interleaved, row
from goodfit.augment.color_jitter import ColorJitter
from goodfit.augment.cutmix import CutMix
from goodfit.augment.cutout import Cutout
from goodfit.augment.flip import Flip
from goodfit.augment.mixup import Mixup
from goodfit.augment.pad_and_crop import PadAndCrop
from goodfit.augment.pca_lighting import PCALighting
from goodfit.augment.pipeline import Pipeline
from goodfit.augment.random_crop import RandomCrop
from goodfit.augment.rotate import Rotate
from goodfit.augment.shear import Shear
from goodfit.batch import Batch
from goodfit.preprocess.channel_stats import ChannelStats

ask = argparse.ArgumentParser(description=__doc__)
ask.add_argument("--seconds", type=float, default=5)
ask.add_argument("--batch", type=int, default=128, help="of the small images")
ask.add_argument("--photos", type=int, default=32, help="in a batch of photographs")
ask.add_argument("--device", default="cpu")
ask.add_argument("--only", choices=["small", "photos"], default=None)
args = ask.parse_args()

MEAN, STD = (0.5, 0.45, 0.4), (0.25, 0.24, 0.26)
BILINEAR = T.InterpolationMode.BILINEAR
normalize = ChannelStats(mean=MEAN, std=STD)().to(args.device)


class Stored(Dataset[tuple[torch.Tensor, int]]):
    """Images in memory, changed one by one."""

    def __init__(
        self, images: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        self.images, self.change = images, change

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.change(self.images[i]), i % 10


def ours(images: torch.Tensor, changes: list[object], compiled: bool) -> Callable[[], object]:
    fitted, index = [change.fitted(images) for change in changes], torch.arange(len(images))
    batch = Batch(images, torch.eye(10)[index % 10], index).to(args.device)
    pipeline, epochs = Pipeline(fitted, compile=compiled), counting()
    last = torch.compile(normalize, dynamic=False) if compiled else normalize
    return lambda: last(pipeline(batch._replace(epoch=next(epochs))).images)


def theirs(images: torch.Tensor, change: object, mix: object = None) -> Callable[[], object]:
    loader = DataLoader(Stored(images, change), batch_size=len(images), shuffle=True)

    def epoch() -> object:
        [(batch, labels)] = loader
        return mix(batch, labels) if mix else batch

    return epoch


def kornias(images: torch.Tensor, change: object, mix: object = None) -> Callable[[], object]:
    labels = (torch.arange(len(images)) % 10).to(args.device)
    pixels, change = images.to(args.device), change.to(args.device)
    mix = mix.to(args.device) if mix else None

    def call() -> object:
        changed = change(pixels.float() / 255)
        return mix(changed, labels) if mix else changed

    return call


def small() -> None:
    images = torch.randint(0, 256, (args.batch, 3, 32, 32), dtype=torch.uint8)
    floats = [T.ToDtype(torch.float32, scale=True), T.Normalize(MEAN, STD)]
    tv = T.Compose(
        [
            T.RandomCrop(32, 4, padding_mode="reflect"),
            T.RandomHorizontalFlip(),
            T.RandomErasing(1, (0.25, 0.25), (1, 1)),
            *floats,
        ]
    )
    kornia = K.AugmentationSequential(
        K.RandomCrop((32, 32), 4, padding_mode="reflect"),
        K.RandomHorizontalFlip(),
        K.RandomErasing((0.25, 0.25), (1, 1), p=1.0),
        K.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
    )
    changes = [PadAndCrop(), Flip(), Cutout(size=0.5)]
    for name, extra, tv_mix, kornia_mix in (
        ("crop+flip+cutout+normalize", [], None, None),
        ("the same+mixup", [Mixup()], T.MixUp(num_classes=10), K.RandomMixUpV2(p=1.0)),
        ("the same+cutmix", [CutMix()], T.CutMix(num_classes=10), K.RandomCutMixV2(p=1.0)),
    ):
        calls = {
            "goodfit": ours(images, changes + extra, compiled=False),
            "goodfit_compiled": ours(images, changes + extra, compiled=True),
            "torchvision": theirs(images, tv, tv_mix),
            "kornia": kornias(images, kornia, kornia_mix),
        }
        measured(name, 32, args.batch, calls)


def photos() -> None:
    images = torch.randint(0, 256, (args.photos, 3, 256, 256), dtype=torch.uint8)
    floats = [T.ToDtype(torch.float32, scale=True), T.Normalize(MEAN, STD)]
    axes = torch.linalg.qr(torch.rand(3, 3))[0]
    values = torch.tensor([0.2175, 0.0188, 0.0045])

    def light(image: torch.Tensor) -> torch.Tensor:
        shift = (axes @ (torch.randn(3) * 0.1 * values))[:, None, None] * 255
        return (image.float() + shift).clamp(0, 255).to(torch.uint8)

    tv = T.Compose(
        [
            T.RandomResizedCrop(224, (0.35, 1.0), antialias=True),
            T.RandomHorizontalFlip(),
            T.RandomAffine(15, shear=(-10, 10, -10, 10), interpolation=BILINEAR),
            T.ColorJitter(0.4, 0.4, 0.4, 0.1),
            light,
            T.RandomErasing(1, (0.06, 0.06), (1, 1)),
            *floats,
        ]
    )
    kornia = K.AugmentationSequential(
        K.RandomResizedCrop((224, 224), (0.35, 1.0)),
        K.RandomHorizontalFlip(),
        K.RandomAffine(15, shear=(-10, 10, -10, 10), p=1.0),
        K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=1.0),
        K.RandomPlanckianJitter(p=1.0),
        K.RandomErasing((0.06, 0.06), (1, 1), p=1.0),
        K.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
    )
    crop = RandomCrop(size=224, area=(0.35, 1.0))
    geometry = [crop, Flip(), Rotate(border="zeros"), Shear(border="zeros")]
    changes = [*geometry, ColorJitter(), PCALighting(), Cutout()]
    calls = {
        "goodfit": ours(images, changes, compiled=False),
        "goodfit_compiled": ours(images, changes, compiled=True),
        "torchvision": theirs(images, tv),
        "kornia": kornias(images, kornia),
    }
    measured("photos-scratch", 224, args.photos, calls)


def measured(what: str, side: int, count: int, calls: dict[str, Callable[[], object]]) -> None:
    """Print one row."""
    if args.device != "cpu":
        calls.pop("torchvision")
    took = interleaved(calls, args.seconds, args.device)
    print(row(what, side, count, took, args.device), flush=True)


if args.only != "photos":
    small()
if args.only != "small":
    photos()
