"""How many images a second does each augmentation change, beside torchvision and kornia?

All get the same uint8 batch and draw per image. torchvision is called image by image, as in a
DataLoader, and kornia on the batch, with its own conversion to float; `over_...` is our speed over
theirs. torchvision's call on the whole batch draws once for all images, which is less work: it
is listed as torchvision_one_draw. Our colors come out as float, torchvision's as bytes.

python benchmarks/augment.py --side 32 >> benchmarks/results/augment.jsonl
"""

import argparse
from collections.abc import Callable

import kornia.augmentation as K
import torch
import torchvision.transforms.v2 as T
from kornia.augmentation.auto import RandAugment as KRandAugment
from kornia.augmentation.auto import TrivialAugment as KTrivialAugment

from augment_timing import interleaved, row
from goodfit.augment import Augmentation
from goodfit.batch import Batch
from goodfit.ingredient import find, names
from goodfit.rand import Rng

ask = argparse.ArgumentParser(description=__doc__)
ask.add_argument("--images", type=int, default=0, help="0: 128 of 32 pixels, 32 of 224")
ask.add_argument("--side", type=int, default=32)
ask.add_argument("--seconds", type=float, default=2)
ask.add_argument("--only", default="", help="kinds, with commas; all without")
args = ask.parse_args()

side, count = args.side, args.images or (128 if args.side < 100 else 32)
images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)
targets, index = torch.eye(10)[torch.arange(count) % 10], torch.arange(count)
labels = targets.argmax(1)
batch = Batch(images, targets, index)
SETTINGS: dict[str, dict[str, object]] = {
    "scale-jitter": {"short": (side * 8 // 7, side * 15 // 7), "size": side}
}
BILINEAR = T.InterpolationMode.BILINEAR
pad = 4
TORCHVISION = {
    "flip": T.RandomHorizontalFlip(),
    "alternating-flip": T.RandomHorizontalFlip(),
    "pad-and-crop": T.RandomCrop(side, pad, padding_mode="reflect"),
    "random-crop": T.RandomResizedCrop(side, antialias=True),
    "brightness": T.ColorJitter(0.4),
    "contrast": T.ColorJitter(0, 0.4),
    "saturation": T.ColorJitter(0, 0, 0.4),
    "hue": T.ColorJitter(0, 0, 0, 0.1),
    "color-jitter": T.ColorJitter(0.4, 0.4, 0.4, 0.1),
    "translate": T.RandomAffine(0, (0.1, 0.1)),
    "rotate": T.RandomRotation(15, BILINEAR),
    "stretch": T.RandomAffine(0, scale=(0.8, 1.2), interpolation=BILINEAR),
    "shear": T.RandomAffine(0, shear=(-10, 10, -10, 10), interpolation=BILINEAR),
    "perspective": T.RandomPerspective(0.3, p=1),
    "cutout": T.RandomErasing(1, (0.06, 0.06), (1, 1)),
    "random-erasing": T.RandomErasing(),
    "trivial-augment": T.TrivialAugmentWide(),
    "rand-augment": T.RandAugment(),
    "scale-jitter": T.Compose(
        [T.RandomResize(side * 8 // 7, side * 15 // 7, antialias=True), T.RandomCrop(side)]
    ),
}
TORCHVISION_BATCH = {"mixup": T.MixUp(num_classes=10), "cutmix": T.CutMix(num_classes=10)}
KORNIA = {
    "flip": K.RandomHorizontalFlip(),
    "alternating-flip": K.RandomHorizontalFlip(),
    "pad-and-crop": K.RandomCrop((side, side), pad, padding_mode="reflect"),
    "random-crop": K.RandomResizedCrop((side, side)),
    "brightness": K.RandomBrightness((0.6, 1.4), p=1.0),
    "contrast": K.ColorJitter(contrast=0.4, p=1.0),  # RandomContrast multiplies, without a mean
    "saturation": K.RandomSaturation((0.6, 1.4), p=1.0),
    "hue": K.RandomHue((-0.1, 0.1), p=1.0),
    "color-jitter": K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=1.0),
    "pca-lighting": K.RandomPlanckianJitter(p=1.0),  # its nearest: one gain per channel
    "translate": K.RandomTranslate((-0.1, 0.1), (-0.1, 0.1), p=1.0),
    "rotate": K.RandomRotation(15, p=1.0),
    "stretch": K.RandomAffine(0, scale=(0.8, 1.2, 0.8, 1.2), p=1.0),
    "shear": K.RandomShear((-10, 10, -10, 10), p=1.0),
    "perspective": K.RandomPerspective(0.3, p=1.0),
    "lens": K.RandomFisheye(*(torch.tensor([-0.1, 0.1]),) * 2, torch.tensor([0.9, 1.1]), p=1.0),
    "cutout": K.RandomErasing((0.06, 0.06), (1, 1), p=1.0),
    "random-erasing": K.RandomErasing(p=0.5),
    "trivial-augment": KTrivialAugment(),
    "rand-augment": KRandAugment(2, 9),
}
KORNIA_MIX = {"mixup": K.RandomMixUpV2(p=1.0), "cutmix": K.RandomCutMixV2(p=1.0)}


def one_by_one(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], object]:
    return lambda: torch.stack([change(image) for image in images])


def compared(kind: str) -> dict[str, Callable[[], object]]:
    """Everyone who can do it, on the same batch."""
    change = find(Augmentation, kind)(**SETTINGS.get(kind, {})).fitted(images)
    calls: dict[str, Callable[[], object]] = {
        "goodfit": lambda: change(batch, Rng(0, change.name, batch))
    }
    if kind in TORCHVISION:
        calls["torchvision"] = one_by_one(TORCHVISION[kind])
        calls["torchvision_one_draw"] = lambda: TORCHVISION[kind](images)
    if kind in TORCHVISION_BATCH:
        calls["torchvision_one_draw"] = lambda: TORCHVISION_BATCH[kind](
            images.float() / 255, labels
        )
    if kind in KORNIA:
        calls["kornia"] = lambda: KORNIA[kind](images.float() / 255)
    if kind in KORNIA_MIX:
        calls["kornia"] = lambda: KORNIA_MIX[kind](images.float() / 255, labels)
    return calls


for kind in args.only.split(",") if args.only else names(Augmentation):
    print(row(kind, side, count, interleaved(compared(kind), args.seconds)), flush=True)
