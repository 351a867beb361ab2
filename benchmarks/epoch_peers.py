"""The other sides of `epoch.py`: the same net, images and augmentation in other libraries.

Every function gives one epoch as a thing to call, which returns the images that it trained on and
its seconds. What is not installed is left out. timm is its own train.py (`--timm train.py`), which
reads files, crops at random sizes instead of padding, and says itself how fast it is; the files
are PNGs without compression, so that reading them costs next to nothing.
"""

import importlib.util
import logging
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from types import ModuleType

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
Epoch = Callable[[], tuple[int, float]]
Nets = Callable[[], nn.Module]


def sgd(net: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True)


class ImageSet(Dataset[tuple[Tensor, int]]):
    """What torchvision's CIFAR10 does: arrays in memory, a PIL image for each access."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = labels.tolist()
        steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
        steps += [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        self.change = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return self.change(Image.fromarray(self.images[place])), self.labels[place]


def loader(
    images: Tensor, labels: Tensor, batch: int, workers: int, device: str = "cpu"
) -> DataLoader:
    settings = {"shuffle": True, "drop_last": True, "num_workers": workers}
    if device != "cpu":  # workers that stay, and memory that a GPU copies from meanwhile
        settings |= {"pin_memory": True, "persistent_workers": True}
    return DataLoader(ImageSet(images, labels), batch, **settings)


def torchvision_loop(
    nets: Nets, batches: DataLoader, device: str = "cpu", *, tuned: bool = False
) -> Epoch:
    """The loop of torchvision's references; `tuned`: given bfloat16 and channels last."""
    net = nets().to(device)
    if tuned:
        net = net.to(memory_format=torch.channels_last)
    optimizer = sgd(net)

    def epoch() -> tuple[int, float]:
        start, count = time.perf_counter(), 0
        net.train()
        for x, y in batches:
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            if tuned:
                x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device, torch.bfloat16, enabled=tuned):
                loss = nn.functional.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            count += len(x)
        if device == "cuda":
            torch.cuda.synchronize()
        return count, time.perf_counter() - start

    return epoch


def composer(nets: Nets, batches: DataLoader) -> Epoch:
    """MosaicML's Composer with the same loader."""
    from composer import Trainer
    from composer.models import ComposerClassifier

    net = nets()
    trainer = Trainer(
        model=ComposerClassifier(net, num_classes=10),
        train_dataloader=batches,
        optimizers=sgd(net),
        max_duration="1ep",
        device="cpu",
        progress_bar=False,
    )
    epochs = 0

    def epoch() -> tuple[int, float]:
        nonlocal epochs
        start = time.perf_counter()
        trainer.fit(duration="1ep") if epochs else trainer.fit()
        epochs += 1
        return len(batches) * batches.batch_size, time.perf_counter() - start

    return epoch


def fastai(nets: Nets, images: Tensor, labels: Tensor, batch: int, workers: int) -> Epoch:
    """fastai's Learner: padding and crop for each image, flip and normalization for the batch."""
    from fastai import vision
    from fastai.vision import all as fast

    del vision
    pixels, classes = images.permute(0, 2, 3, 1).contiguous().numpy(), labels.tolist()
    blocks = fast.DataBlock(
        blocks=(fast.ImageBlock, fast.CategoryBlock(vocab=list(range(10)))),
        get_items=lambda _: list(range(len(classes))),
        get_x=lambda place: fast.PILImage.create(pixels[place]),
        get_y=lambda place: classes[place],
        splitter=lambda items: (items, items[:batch]),
        item_tfms=[fast.CropPad(40, pad_mode="zeros"), fast.RandomCrop(32)],
        batch_tfms=[fast.Flip(), fast.Normalize.from_stats(MEAN, STD, cuda=False)],
    )
    data = blocks.dataloaders(None, bs=batch, num_workers=workers, device=torch.device("cpu"))

    class NoValidation(fast.Callback):
        def before_validate(self) -> None:
            raise fast.CancelValidException

    learner = fast.Learner(
        data,
        nets(),
        loss_func=nn.CrossEntropyLoss(),
        opt_func=partial(fast.SGD, mom=0.9),
        cbs=NoValidation(),
        metrics=[],
    )

    def epoch() -> tuple[int, float]:
        start = time.perf_counter()
        with learner.no_bar(), learner.no_logging():
            learner.fit(1, 0.05)
        return len(data.train) * batch, time.perf_counter() - start

    return epoch


@contextmanager
def said_by(name: str) -> Iterator[list[str]]:
    """The messages of a logger."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


def module_at(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("timm_train", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def timm(path: Path, images: Tensor, labels: Tensor, batch: int, workers: int) -> dict[str, Epoch]:
    """timm's train.py with its ResNet-18, as it is and with `--amp --channels-last`."""
    module = module_at(path)
    folder = Path(tempfile.mkdtemp(prefix="epoch-"))
    for place, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        for split in ("train", "val")[: 1 + (place < 10)]:
            at = folder / split / str(label)
            at.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(
                at / f"{place}.png", compress_level=0
            )
    words = f"train.py {folder} --model resnet18 --num-classes 10 --input-size 3 32 32 --opt sgd"
    words += f" --lr 0.05 --sched step --epochs 1 --warmup-epochs 0 -b {batch} -j {workers}"
    words += f" --color-jitter 0 --device cpu --log-interval 10 --output {folder}/out"

    def side(*more: str) -> Epoch:
        def epoch() -> tuple[int, float]:
            before, sys.argv = sys.argv, [*words.split(), *more]
            try:
                with said_by("train") as lines, redirect_stdout(StringIO()):
                    module.main()
            finally:
                sys.argv = before
            last = [line for line in lines if line.startswith("Train:")][-1]
            rate = re.search(r",\s*([\d.]+)/s\)", last)
            assert rate is not None, last
            return len(images), len(images) / float(rate[1])

        return epoch

    tuned = side("--amp", "--amp-dtype", "bfloat16", "--channels-last")
    return {"timm train.py": side(), "timm train.py, bfloat16, channels last": tuned}
