"""What runs on a GPU gives what the CPU gives: the same draws, the same pixels, the same training.

Skipped where there is no GPU. GOODFIT_TEST_DEVICE=cpu runs the tests themselves on a CPU.
"""

import copy
import json
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from goodfit.augment import Augmentation
from goodfit.augment.color_jitter import ColorJitter
from goodfit.augment.cutmix import CutMix
from goodfit.augment.cutout import Cutout
from goodfit.augment.flip import Flip
from goodfit.augment.mixup import Mixup
from goodfit.augment.pad_and_crop import PadAndCrop
from goodfit.augment.pipeline import Pipeline
from goodfit.augment.random_crop import RandomCrop
from goodfit.batch import Batch
from goodfit.check import check
from goodfit.data import guess
from goodfit.data.loader import Loader
from goodfit.errors import TrainingError
from goodfit.fit import fit
from goodfit.ingredient import find, names
from goodfit.init import Init
from goodfit.losses import Loss
from goodfit.models.cnn import CNN
from goodfit.models.fast_net import FastNet
from goodfit.optim import Optim
from goodfit.optim.averages import EMA
from goodfit.optim.sgd import SGD
from goodfit.penalties import Penalty
from goodfit.predict import Classifier, predict
from goodfit.predict.quick import quickened
from goodfit.preprocess import Preprocess
from goodfit.preprocess.channel_stats import ChannelStats
from goodfit.rand import Rng
from goodfit.run.load import Run
from goodfit.run.start import resume, train

DEVICE = os.environ.get("GOODFIT_TEST_DEVICE", "cuda")
pytestmark = [
    pytest.mark.skipif(
        DEVICE == "cuda" and not torch.cuda.is_available(), reason="there is no GPU here"
    ),
    pytest.mark.xdist_group("cuda"),  # one process on the GPU
]
EXACT = (
    "train.precision=float32",
    "train.channels_last=false",
    "train.compile=false",
)


@pytest.fixture(autouse=True)
def plain_float32():
    """Products in float32, not TF32, so that both devices can be compared."""
    kept = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = kept


def small_batch(n: int = 8, dtype: torch.dtype = torch.uint8) -> Batch:
    images = torch.rand(n, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    images = (images * 255).round().to(torch.uint8) if dtype == torch.uint8 else images
    return Batch(images, torch.eye(n), torch.arange(n) + 2**33, epoch=2)


def made(kind: str) -> Augmentation:
    settings = {"scale-jitter": {"short": (26, 40), "size": 24}}.get(kind, {})
    return find(Augmentation, kind)(**settings).fitted(small_batch(16).images)


def close(found: Tensor, expected: Tensor, share: float = 0.002) -> None:
    """The same pixels, but for a level, and for the few where a coordinate rounds otherwise."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    level = 1.01 if expected.dtype == torch.uint8 else 1e-3
    far = (found.cpu().float() - expected.float()).abs() > level
    assert float(far.float().mean()) <= share


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("kind", names(Augmentation))
def test_an_augmentation_changes_the_same_pixels(kind, dtype):
    change, batch = made(kind), small_batch(dtype=dtype)
    expected = change(batch, Rng(3, "test", batch))
    there = batch.to(DEVICE)
    found = change(there, Rng(3, "test", there))
    assert found.images.device.type == DEVICE
    close(found.images, expected.images)
    torch.testing.assert_close(found.targets.cpu(), expected.targets)
    for (weight, view), (other, seen) in zip(change.views(there), change.views(batch), strict=True):
        assert weight == other
        close(view.images, seen.images)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_pipeline_changes_the_same_pixels(compiled):
    changes = [PadAndCrop(), Flip(), ColorJitter(), Cutout(fill=0.5), Mixup(), CutMix()]
    batch = small_batch()
    expected = Pipeline(changes, 3)(batch)
    for place in (batch.to(DEVICE), small_batch().to(DEVICE)._replace(index=batch.index)):
        found = Pipeline(changes, 3, compile=compiled)(place)
        close(found.images, expected.images)
        torch.testing.assert_close(found.targets.cpu(), expected.targets)


@pytest.mark.parametrize("index_device", ["cpu", DEVICE])
def test_every_kind_of_draw_has_the_same_numbers(index_device):
    batch = small_batch(300)
    there = batch.to(DEVICE)._replace(index=batch.index.to(index_device))
    here, other = Rng(5, "draw", batch), Rng(5, "draw", there)
    for draw in (
        lambda r: r.words(5),
        lambda r: r.uniform(-1, 2),
        lambda r: r.uniforms(3),
        lambda r: r.integers(-3, 11),
        lambda r: r.happens(0.3),
        lambda r: r.sign(),
        lambda r: r.partners(),
        lambda r: r.every_epoch().uniform(),
        lambda r: r.words(300),  # too many to be sent
        lambda r: r.uniforms(2),
    ):
        expected, found = draw(here), draw(other)
        assert found.device.type == DEVICE
        assert torch.equal(found.cpu(), expected)
    for draw in (
        lambda r: r.normals(3),
        lambda r: r.beta(0.2, 0.2),
        lambda r: r.beta(2.0, 5.0),
    ):
        torch.testing.assert_close(draw(other).cpu(), draw(here), rtol=1e-5, atol=1e-6)


def test_a_loader_gives_the_same_batches():
    splits = guess("digits")()
    places = (Loader(splits.train, 100, shuffle=True, seed=4, device=d) for d in ("cpu", DEVICE))
    for here, there in zip(*places, strict=True):
        assert torch.equal(here.images, there.images.cpu())
        assert torch.equal(here.targets, there.targets.cpu())
        assert torch.equal(here.index, there.index.cpu())
        assert there.images.device.type == there.targets.device.type == DEVICE


def test_decoded_photographs_arrive_whole(tmp_path):
    """Buffers are used again while the device may still be copying from them."""
    photos(tmp_path, 60)
    splits = guess(tmp_path, val=0.2)()
    settings = {"size": 48, "shuffle": True, "hold_bytes": 0, "workers": 2}
    here, there = (Loader(splits.train, 8, device=d, **settings) for d in ("cpu", DEVICE))
    for _ in range(3):
        batches = list(there)  # none is looked at before all are asked for
        for a, b in zip(here, batches, strict=True):
            assert torch.equal(a.images, b.images.cpu())


def photos(root: Path, count: int) -> None:
    from torchvision.io import write_jpeg

    noise = torch.Generator().manual_seed(0)
    for number in range(count):
        kind = root / ("dark" if number % 2 else "light")
        kind.mkdir(exist_ok=True)
        coarse = torch.rand(1, 3, 6, 6, generator=noise) * 120 + (0 if number % 2 else 120)
        image = F.interpolate(coarse, (60 + number, 80), mode="bilinear").round().byte()[0]
        write_jpeg(image, str(kind / f"{number}.jpg"))


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(32, 8)),
    )


def pair() -> tuple[nn.Module, nn.Module]:
    here = net()
    return here, copy.deepcopy(here).to(DEVICE)


def same_weights(here: nn.Module, there: nn.Module, **tolerance: float) -> None:
    for (name, a), b in zip(here.state_dict().items(), there.state_dict().values(), strict=True):
        assert b.device.type == DEVICE
        torch.testing.assert_close(
            b.cpu(), a, **(tolerance or {"rtol": 2e-3, "atol": 2e-5}), msg=lambda m, n=name: n + m
        )


@pytest.mark.parametrize("kind", [*names(Optim)])
def test_an_optimizer_takes_the_same_steps(kind):
    here, there = pair()
    batch = small_batch(8, torch.float32)
    settings = find(Optim, kind)()
    for model, data in ((here, batch), (there, batch.to(DEVICE))):
        steps = list(fit(model, [data], optimizer=settings(model), loss=F.cross_entropy, steps=4))
    loss = float(steps[-1].loss)
    assert loss == pytest.approx(loss)
    same_weights(here, there)


@pytest.mark.parametrize("kind", names(Loss))
def test_a_loss_is_the_same(kind):
    loss, noise = find(Loss, kind)(), torch.Generator().manual_seed(0)
    logits = torch.randn(8, 8, generator=noise)
    batch = Pipeline([Mixup()])(small_batch())
    from goodfit.losses.interpolate import interpolated

    there = batch.to(DEVICE)
    expected = interpolated(loss, logits, batch)
    torch.testing.assert_close(interpolated(loss, logits.to(DEVICE), there).cpu(), expected)
    whole, other = loss(logits, batch.targets), loss(logits.to(DEVICE), there.targets)
    torch.testing.assert_close(other.cpu(), whole)


@pytest.mark.parametrize("kind", names(Penalty))
def test_a_penalty_is_the_same(kind):
    here, there = pair()
    penalty = find(Penalty, kind)()
    torch.testing.assert_close(penalty(there).cpu(), penalty(here))


@pytest.mark.parametrize("kind", names(Preprocess))
def test_preprocessing_is_fitted_and_applied_the_same(kind):
    images = small_batch(64).images
    here = find(Preprocess, kind)().fitted(images)
    there = find(Preprocess, kind)().fitted(images.to(DEVICE))
    expected = here()(images)
    torch.testing.assert_close(
        there().to(DEVICE)(images.to(DEVICE)).cpu(), expected, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("kind", names(Init))
def test_an_init_works_where_the_model_is(kind):
    init, model = find(Init, kind)(), net().to(DEVICE)
    if kind == "residual":
        from goodfit.models.resnet import ResNet

        model = ResNet(depth=8)(8).to(DEVICE)
    images = small_batch(64, torch.float32).images.to(DEVICE)
    init(model, images) if init.needs_images else init(model)
    assert all(p.device.type == DEVICE and p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_prediction_is_the_same(precision):
    here, there = pair()
    stats = ChannelStats(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.2))
    here, there = (Classifier(stats().to(d), m, list("abcdefgh")) for m, d in
                   ((here, "cpu"), (there, DEVICE)))  # fmt: skip
    images = small_batch(20).images
    changes = [Flip(), ColorJitter(), RandomCrop(size=(24, 32))]
    settings = {"augment": changes, "samples": 2, "batch_size": 7}
    expected = predict(here, images, **settings)
    found = predict(there, images, precision=precision, **settings)
    assert found.device.type == "cpu"
    loose = precision == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02 if loose else 1e-4)
    chosen = predict(there, images, views="flip*shift")
    torch.testing.assert_close(chosen, predict(here, images, views="flip*shift"), rtol=0, atol=1e-4)


def test_a_model_made_quick_says_the_same():
    model = net().to(DEVICE).eval()
    images = small_batch(64, torch.float32).images.to(DEVICE)
    quick = quickened(model, images)
    found = predict(quick.model, images, precision=quick.precision)
    torch.testing.assert_close(found, predict(model, images), rtol=0, atol=0.02)


def test_an_average_follows_the_weights():
    here, there = pair()
    averages = EMA(0.9), EMA(0.9)
    for model, average in zip((here, there), averages, strict=True):
        for _ in range(3):
            average.update(model)
            with torch.no_grad():
                for p in model.parameters():
                    p.mul_(0.9)
        average.apply_to(model)
    same_weights(here, there)


@pytest.mark.skipif(DEVICE == "cpu", reason="a CPU never waits")
@pytest.mark.parametrize("kind", ["sgd", "adamw", "muon", "lookahead"])
def test_the_loop_never_waits_for_the_device(kind):
    """torch itself raises where the host would wait for the device."""
    splits = guess("digits")()
    loader = Loader(splits.train, 64, shuffle=True, device=DEVICE)
    model = Classifier(ChannelStats(mean=(0.3,), std=(0.3,))(), CNN()(10, 1), splits.train.classes)
    model = model.to(DEVICE)
    steps = fit(
        model,
        loader,
        optimizer=find(Optim, kind)()(model.net),
        loss=find(Loss, "cross-entropy")(smoothing=0.1),
        steps=2 * len(loader),  # over the edge of an epoch
        augment=[PadAndCrop(pad_pixels=1), Flip(), ColorJitter(), Cutout(), Mixup(), CutMix()],
        clip_norm=1.0,
        precision=torch.bfloat16,
    )
    try:
        for step in steps:
            if step.number == 3:  # what is made once is made
                torch.cuda.set_sync_debug_mode("error")
            if step.number == 2 * len(loader) - 1:
                torch.cuda.set_sync_debug_mode("default")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert float(step.loss) < 2.5


def test_what_is_not_finite_stops_training_and_leaves_the_weights_finite():
    _, model = pair()
    batch = small_batch(8, torch.float32).to(DEVICE)
    broken = batch.images.clone()
    broken[2] = torch.nan
    bad = batch.with_images(broken)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TrainingError, match="step 3") as error:
        list(fit(model, [batch, batch, bad, batch], optimizer=optimizer,
                 loss=F.cross_entropy, steps=8))  # fmt: skip
    assert error.value.at == "the input"
    assert all(p.isfinite().all() for p in model.parameters())


def test_the_doctor_says_the_same():
    batch = small_batch(32, torch.float32)
    said = []
    for device in ("cpu", DEVICE):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 32, 8), nn.Softmax(1)).to(device)
        data = [batch.to(device)] * 4
        report = check(model, data, loss=nn.CrossEntropyLoss(), optimizer=SGD(lr=0.1)(model))
        said.append([(f.rule, f.where) for f in report.findings])
    assert said[0]
    assert said[0] == said[1]


RECIPE = """
[model]
kind = "cnn"
widths = [16, 32]
dropout = 0.1

[[augment]]
kind = "pad-and-crop"
pad_pixels = 1

[[augment]]
kind = "mixup"

[optimizer]
kind = "adamw"
lr = 0.004

[train]
epochs = 8
batch_size = 64
ema = 0.9
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    place = tmp_path / "recipe.toml"
    place.write_text(RECIPE)
    return place


def losses_of(run: Run) -> list[float]:
    lines = (run.path / "steps.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_a_run_trains_tests_and_serves_on_either_device(recipe, tmp_path):
    run = train(recipe, "digits", name="there", runs=tmp_path, device=DEVICE)
    assert run.accuracy > 0.7
    assert run.evaluate(device="cpu").accuracy.value == pytest.approx(run.accuracy, abs=0.006)
    assert run.evaluate(device=DEVICE).accuracy.value == pytest.approx(run.accuracy, abs=0.004)
    assert (run.path / "report.html").stat().st_size > 10_000
    classifier = run.classifier(device=DEVICE)
    assert next(classifier.parameters()).device.type == DEVICE


def test_a_run_goes_like_one_on_the_cpu(recipe, tmp_path):
    """The same seed, so the same weights to begin with, the same batches and the same draws."""
    exact = (*EXACT, "model.dropout=0", "train.epochs=1")
    runs = [
        train(recipe, "digits", changes=exact, name=f"on-{i}", runs=tmp_path, device=device)
        for i, device in enumerate(("cpu", DEVICE))
    ]
    losses = [losses_of(run) for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)


def test_a_run_is_resumed(recipe, tmp_path):
    stopped = 0

    def stop(progress: Any) -> None:
        nonlocal stopped
        if progress.step >= 30:
            stopped = progress.step
            raise KeyboardInterrupt

    whole = train(recipe, "digits", changes=EXACT, name="whole", runs=tmp_path, device=DEVICE)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, "digits", changes=(*EXACT, "train.checkpoint_seconds=0.01"), name="cut",
              runs=tmp_path, device=DEVICE, show=stop)  # fmt: skip
    assert stopped
    run = resume(tmp_path / "cut", device=DEVICE)
    assert run.finished
    assert run.accuracy == pytest.approx(whole.accuracy, abs=0.03)
    assert [len(losses_of(one)) for one in (whole, run)] == [8 * 19] * 2
    assert losses_of(run)[:20] == pytest.approx(losses_of(whole)[:20], rel=0.05)


def test_photographs_and_growing_images(tmp_path):
    (tmp_path / "made").mkdir()
    photos(tmp_path / "made", 64)
    place = tmp_path / "photos.toml"
    place.write_text("""
[model]
kind = "fast-net"
widths = [16, 16, 16]

[[init]]
kind = "patch-whitening"

[[augment]]
kind = "random-crop"

[optimizer]
kind = "muon"
lr = 0.02

[train]
epochs = 6
batch_size = 8
image_size = 32
sizes = [[0.0, 16], [0.5, 32]]
""")
    run = train(place, tmp_path / "made", name="one", runs=tmp_path, device=DEVICE)
    assert run.accuracy > 0.7  # light and dark


def test_a_compiled_run(recipe, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = train(recipe, "digits", changes=("train.compile=true",), name="compiled",
                    runs=tmp_path, device=DEVICE)  # fmt: skip
    assert run.accuracy > 0.7


def test_the_public_pieces_in_a_loop_of_ones_own():
    splits = guess("digits")()
    torch.manual_seed(0)
    model = FastNet(widths=(16, 16, 16))(10, 1).to(DEVICE)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loader = Loader(splits.train, 64, shuffle=True, device=DEVICE)
    pipeline = Pipeline([PadAndCrop(pad_pixels=1), Mixup()])
    losses = []
    for _ in range(2):
        for batch in loader:
            batch = pipeline(batch)
            loss = F.cross_entropy(model(batch.images.float() / 255), batch.targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
    assert float(losses[-1]) < float(losses[0])
