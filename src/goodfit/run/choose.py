"""Which shipped recipe fits the data, and why, in one sentence."""

from statistics import median

from goodfit.data import Splits


def chosen(splits: Splits, weights: str | None = None) -> tuple[str, str]:
    """(recipe's name, the reason) from the images' size, number and classes."""
    side, count = typical_side(splits), len(splits.train)
    classes = len(splits.classes)
    what = f"{count:,} training images of about {side:.0f} pixels in {classes} classes"
    if weights is not None:
        return "photos-finetune", f"{what}, and pretrained weights were given: they are fine-tuned"
    if side <= 16:
        return "digits", f"{what}: tiny images need only a small net"
    if side <= 64:
        return "small-fast", f"{what}: small images train fastest on the compact net of small-fast"
    if count >= 200_000:
        return "imagenet", f"{what}: enough to train a ResNet-50 from nothing"
    return "photos-scratch", (
        f"{what}: trained from nothing, since no pretrained weights were given; "
        "`--from NAME` fine-tunes and is usually better below 10,000 images"
    )


def typical_side(splits: Splits) -> float:
    """The median shorter side of up to 200 training images, in pixels."""
    source = splits.train
    places = range(0, len(source), max(1, len(source) // 200))
    return median(min(source[i][0].shape[-2:]) for i in places)
