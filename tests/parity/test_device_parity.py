"""What runs on a GPU gives what the CPU gives: the same draws, the same pixels, the same training.

Where there is no GPU, a made-up one shows at least that no tensor stays behind on the CPU.
"""

import copy
import json
import warnings
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from goodfit.audit import audit, audit_augment
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
from goodfit.ensemble.make import ensemble
from goodfit.errors import TrainingError
from goodfit.fit import fit
from goodfit.ingredient import find, names
from goodfit.init import Init
from goodfit.layers._base import Insertion
from goodfit.losses import Loss
from goodfit.losses.interpolate import interpolated
from goodfit.models.cnn import CNN
from goodfit.models.fast_net import FastNet
from goodfit.models.resnet import ResNet
from goodfit.optim import Optim
from goodfit.optim.averages import EMA
from goodfit.penalties import Penalty
from goodfit.predict import Classifier, predict
from goodfit.predict.quick import quickened
from goodfit.preprocess import Preprocess
from goodfit.preprocess.channel_stats import ChannelStats
from goodfit.rand import Rng
from goodfit.recipe.read import read
from goodfit.run.audited import audit as audit_recipe
from goodfit.run.load import Run
from goodfit.run.start import resume, train
from goodfit.transfer.make import transfer
from made_up_gpu import NAME, made_up_gpu

REAL = torch.cuda.is_available()
DEVICE = "cuda" if REAL else NAME
on_a_real_gpu = pytest.mark.skipif(not REAL, reason="there is no GPU here")
EXACT = (
    "train.precision=float32",
    "train.channels_last=false",
    "train.compile=false",
)


@pytest.fixture(autouse=True)
def waits():
    """The device; on a real one products are in float32, not TF32, to be comparable."""
    if not REAL:
        with made_up_gpu() as waits:
            yield waits
        return
    kept = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield []
    torch.backends.cudnn.allow_tf32 = kept


@pytest.mark.skipif(REAL, reason="there is a real GPU here")
def test_the_made_up_gpu_mixes_with_nothing_and_notes_what_waits(waits):
    there, here = torch.ones(3, device=DEVICE), torch.ones(3)
    for mixed in (
        lambda: there + here,
        lambda: torch.cat([here, there]),
        lambda: there.lerp_(here, 0.5),
    ):
        with pytest.raises(RuntimeError, match="same device"):
            mixed()
    assert torch.equal((there * 2).cpu(), here * 2)
    assert not waits
    assert float(there.sum()) == 3
    assert there.tolist() == [1, 1, 1]
    assert waits == ["_local_scalar_dense", "tolist"]
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()


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


@pytest.mark.parametrize(
    "compiled", [False, pytest.param(True, marks=[on_a_real_gpu, pytest.mark.compile])]
)
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
    noise = torch.Generator().manual_seed(0)
    for number in range(count):
        kind = root / ("dark" if number % 2 else "light")
        kind.mkdir(exist_ok=True)
        coarse = torch.rand(1, 3, 6, 6, generator=noise) * 120 + (0 if number % 2 else 120)
        image = F.interpolate(coarse, (60 + number, 80), mode="bilinear").round().byte()[0]
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(kind / f"{number}.jpg")


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
    losses = []
    for model, data in ((here, batch), (there, batch.to(DEVICE))):
        steps = fit(model, [data], optimizer=settings(model), loss=F.cross_entropy, steps=4)
        losses.append([float(step.loss) for step in steps])
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)
    rough = kind == "muon" and REAL  # it makes matrices orthogonal in bfloat16 there
    same_weights(here, there, **({"rtol": 0.02, "atol": 2e-4} if rough else {}))


@pytest.mark.parametrize("kind", names(Loss))
def test_a_loss_is_the_same(kind):
    loss, noise = find(Loss, kind)(), torch.Generator().manual_seed(0)
    logits = torch.randn(8, 8, generator=noise)
    batch = Pipeline([Mixup()])(small_batch())
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


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=on_a_real_gpu) if kind in ("lsuv", "orthogonal") else kind
        for kind in names(Init)
    ],
)
def test_an_init_works_where_the_model_is(kind):
    init, model = find(Init, kind)(), net().to(DEVICE)
    if kind == "residual":
        model = ResNet(depth=8)(8).to(DEVICE)
    images = small_batch(64, torch.float32).images.to(DEVICE)
    init(model, images) if init.needs_images else init(model)
    assert all(p.device.type == DEVICE and p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_prediction_is_the_same(precision):
    here, there = pair()
    stats = ChannelStats(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.2))
    here, there = (
        Classifier(stats().to(device), model, list("abcdefgh"))
        for model, device in ((here, "cpu"), (there, DEVICE))
    )
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


@on_a_real_gpu
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


@contextmanager
def waiting_is_an_error():
    """On a real GPU; it tells of each wait by itself."""
    if not REAL:
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("kind", ["sgd", "adamw", "muon", "lookahead"])
def test_the_loop_never_waits_for_the_device(kind, waits):
    """On a real GPU torch raises where the host would wait; a made-up one counts.

    There each update asks once whether its numbers are finite, which CUDA is asked by an event.
    """
    splits = guess("digits")()
    loader = Loader(splits.train, 64, shuffle=True, device=DEVICE)
    model = Classifier(ChannelStats(mean=(0.3,), std=(0.3,))(), CNN()(10, 1), splits.train.classes)
    model = model.to(DEVICE)
    updates = 2 * len(loader)  # over the edge of an epoch
    steps = fit(
        model,
        loader,
        optimizer=find(Optim, kind)()(model.net),
        loss=find(Loss, "cross-entropy")(smoothing=0.1),
        steps=updates,
        augment=[PadAndCrop(pad_pixels=1), Flip(), ColorJitter(), Cutout(), Mixup(), CutMix()],
        clip_norm=1.0,
        precision=torch.bfloat16,
    )
    with ExitStack() as stack:
        for step in steps:
            if step.number == 3:  # what is made once is made
                stack.enter_context(waiting_is_an_error())
                waits.clear()
            if step.number == updates - 1:
                asked = list(waits)
                stack.close()
    assert len(asked) <= (0 if REAL else updates - 4)
    assert float(step.loss) < 2.5


def test_what_is_not_finite_stops_training_and_leaves_the_weights_finite():
    _, model = pair()
    batch = small_batch(8, torch.float32).to(DEVICE)
    broken = batch.images.clone()
    broken[2] = torch.nan
    bad = batch.with_images(broken)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = [batch, batch, bad, batch]
    with pytest.raises(TrainingError, match="step 3") as error:
        list(fit(model, data, optimizer=optimizer, loss=F.cross_entropy, steps=8))
    assert error.value.at == "the input"
    assert all(p.isfinite().all() for p in model.parameters())


def colored(count: int, *, seed: int = 0, turned: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Batches of four classes of different brightness; `turned`: with the names exchanged."""
    labels = torch.arange(count) % 4
    noise = torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    images = noise * 0.3 + labels[:, None, None, None] * 0.15
    return list(zip(images.split(32), ((labels + turned) % 4).split(32), strict=True))


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("lr", [0.05, 50.0])
def test_the_doctor_says_the_same(lr, turned):
    said = []
    for device in ("cpu", DEVICE):
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2)
        model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4))
        model = model.to(device)
        train, val = (
            [(x.to(device), y.to(device)) for x, y in part]
            for part in (colored(256), colored(96, seed=1, turned=turned))
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        report = check(model, train, val, loss=nn.CrossEntropyLoss(), optimizer=optimizer)
        said.append([(f.rule, f.where) for f in report.findings])
    assert said[0] == said[1]
    assert bool(said[0]) == (turned == 1 or lr == 50)


@pytest.mark.parametrize(
    "kind", ["alpha-dropout", "dropout", "drop-connect", "fractional-max-pool"]
)
def test_the_audit_of_a_layer_says_the_same(kind):
    images, verdicts = torch.cat([x for x, _ in colored(64)]), []
    for device in ("cpu", DEVICE):
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(2)
        head = nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4)
        model = nn.Sequential(*layers, *head)
        find(Insertion, kind)()(model)
        found = audit(model.to(device), images.to(device), draws=64)
        verdicts.append([(f.where, f.verdict) for f in found.findings])
    assert verdicts[0]
    assert verdicts[0] == verdicts[1]


@pytest.mark.parametrize("kind", ["flip", "color-jitter", "random-crop", "mixup", "rand-augment"])
def test_the_audit_of_an_augmentation_says_the_same(kind):
    change, model = made(kind), net().eval()
    batch = Batch(small_batch(8, torch.float32).images, torch.eye(8), torch.arange(8))
    here = audit_augment(model, (change,), batch, draws=16)
    there = audit_augment(copy.deepcopy(model).to(DEVICE), (change,), batch.to(DEVICE), draws=16)
    assert [f.verdict for f in here.findings] == [f.verdict for f in there.findings]


def test_a_recipe_is_audited_where_its_images_are():
    """small-fast has an init that looks at images, and a net that is made on the CPU."""
    images = torch.cat([x for x, _ in colored(64)]).to(DEVICE)
    labels = torch.cat([y for _, y in colored(64)])
    assert audit_recipe(read("small-fast"), (images, labels), draws=8).findings


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
    changes = () if REAL else EXACT  # the trial of layouts changes strides in place
    run = train(recipe, "digits", changes=changes, name="there", runs=tmp_path, device=DEVICE)
    assert run.accuracy > 0.7
    assert run.evaluate(device="cpu").accuracy.value == pytest.approx(run.accuracy, abs=0.006)
    assert run.evaluate(device=DEVICE).accuracy.value == pytest.approx(run.accuracy, abs=0.004)
    assert (run.path / "report.html").stat().st_size > 10_000
    classifier = run.classifier(device=DEVICE)
    assert next(classifier.parameters()).device.type == DEVICE


def test_members_vote_and_mix_on_the_device(recipe, tmp_path):
    for seed in (0, 1):
        changes = (*EXACT, "train.epochs=2", f"train.seed={seed}")
        train(recipe, "digits", changes=changes, name=f"s{seed}", runs=tmp_path, device=DEVICE)
    members = [tmp_path / "s0", tmp_path / "s1"]
    for how in ("probabilities", "logits", "greedy-soup"):
        run, _ = ensemble(members, how=how, name=how, folder=tmp_path, device=DEVICE)
        here, there = (run.evaluate(device=d).accuracy.value for d in ("cpu", DEVICE))
        assert there == pytest.approx(here, abs=0.006)


@pytest.mark.parametrize("mode", ["probe", "fine-tune"])
def test_weights_are_transferred_on_the_device(mode, recipe, tmp_path):
    timm = pytest.importorskip("timm")
    weights = timm.create_model("test_resnet", num_classes=10, in_chans=1).state_dict()
    save_file(weights, tmp_path / "weights.safetensors")
    recipe.write_text(
        RECIPE.replace(
            'kind = "cnn"\nwidths = [16, 32]\ndropout = 0.1', 'kind = "timm"\narch = "test_resnet"'
        )
    )
    run = transfer(
        "digits",
        str(tmp_path / "weights.safetensors"),
        mode=mode,
        recipe=recipe,
        changes=(*EXACT, "train.epochs=2"),
        device=DEVICE,
        name=mode,
        runs=tmp_path,
    )
    assert run.finished
    here, there = (run.evaluate(device=d).accuracy.value for d in ("cpu", DEVICE))
    assert there == pytest.approx(here, abs=0.006)


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


@on_a_real_gpu
def test_a_run_is_resumed(recipe, tmp_path):
    stopped = 0

    def stop(progress: Any) -> None:
        nonlocal stopped
        if progress.step >= 30:
            stopped = progress.step
            raise KeyboardInterrupt

    whole = train(recipe, "digits", changes=EXACT, name="whole", runs=tmp_path, device=DEVICE)
    often = (*EXACT, "train.checkpoint_seconds=0.01")
    where = {"name": "cut", "runs": tmp_path, "device": DEVICE}
    with pytest.raises(KeyboardInterrupt):
        train(recipe, "digits", changes=often, show=stop, **where)
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


@on_a_real_gpu
@pytest.mark.compile
def test_a_compiled_run(recipe, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        changes, where = ("train.compile=true",), {"runs": tmp_path, "device": DEVICE}
        run = train(recipe, "digits", changes=changes, name="compiled", **where)
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
