"""The recipe: an immutable record of ingredients and of how to train and evaluate.

Sections are shelves and `kind` is a file name. Everything not written has a default, which the
run directory spells out. A recipe in a run directory is resolved: every value that depends on
the data or the machine is explicit, so it reruns as it is.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from goodfit.augment import Augmentation
from goodfit.data import Data
from goodfit.errors import RecipeError
from goodfit.ingredient import Count, Fraction, Ingredient, Positive, find
from goodfit.init import Init
from goodfit.layers._base import Insertion
from goodfit.losses import Loss
from goodfit.losses.cross_entropy import CrossEntropy
from goodfit.models import Model
from goodfit.models.resnet import ResNet
from goodfit.optim import Optim
from goodfit.optim.sgd import SGD
from goodfit.penalties import Penalty
from goodfit.predict.views import steps_of
from goodfit.preprocess import Preprocess
from goodfit.preprocess.channel_stats import ChannelStats
from goodfit.recipe.own import Own
from goodfit.schedules import Schedule
from goodfit.schedules.cosine import Cosine

Precision = Literal["auto", "float32", "bfloat16"]
Choice = Literal["auto"] | bool


class Train(Ingredient):
    """How to go through the data."""

    epochs: Annotated[float, Field(gt=0, le=100_000)] = 30.0  # may be a fraction
    minutes: Positive | None = None  # of training; when given, sets the epochs by measured speed
    batch_size: Count | Literal["auto"] = 128  # per update, over all processes together
    accumulate: Count = 1  # batches that share an update: each holds batch_size / accumulate
    image_size: Annotated[int, Field(ge=1, le=4096)] | None = (
        None  # side in pixels; None: by the data
    )
    sizes: tuple[
        tuple[Fraction, Annotated[int, Field(ge=1)]], ...
    ] = ()  # [from which part of the run, side]
    clip_norm: Positive | None = None  # of all gradients together
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0  # decay of the weights' average; 0: none
    swa: Fraction = 0.0  # last part of the run over which weights are averaged evenly; 0: none
    precision: Precision = "auto"  # auto: the faster one on this device, by measuring
    channels_last: Choice = "auto"
    compile: Choice = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    workers: Annotated[int, Field(ge=0)] | None = None  # decoding threads; None: one per core
    check: bool = True  # the doctor's cheap rules before training, its running ones during it
    checkpoint_seconds: Positive = 60.0  # at least this often, and at every evaluation

    @field_validator("sizes")
    @classmethod
    def _rising(cls, sizes: Any) -> Any:
        starts = [start for start, _ in sizes]
        if starts and (starts[0] != 0 or starts != sorted(set(starts))):
            raise ValueError(
                "a list of [start, side] whose starts rise from 0, as [[0.0, 20], [0.6, 32]]"
            )
        return sizes

    @model_validator(mode="after")
    def _divides(self) -> "Train":
        if isinstance(self.batch_size, int) and self.batch_size % self.accumulate:
            raise RecipeError(
                f"batch_size {self.batch_size} cannot be split into {self.accumulate} equal parts",
                at="train.accumulate",
                fix=f"make batch_size a multiple of {self.accumulate}",
            )
        return self


class Evaluate(Ingredient):
    """How to test: what is averaged, and how often to look at the validation split."""

    views: tuple[str, ...] = ("center",)  # composed as products: "flip", "ten-crop", ...
    samples: Annotated[int, Field(ge=0)] = 0  # random draws of the training augmentation
    average: Literal["probabilities", "logits"] = "probabilities"
    every: Positive | None = None  # epochs between evaluations; None: about ten in the run
    batch_size: Count = 256
    image_size: Annotated[int, Field(ge=1, le=4096)] | None = None  # None: that of training
    resize: Annotated[float, Field(gt=0, le=1)] = 1.0  # share of the short side the center shows

    @field_validator("views")
    @classmethod
    def _known(cls, views: tuple[str, ...]) -> tuple[str, ...]:
        steps_of(views)  # raises RecipeError, rather than after hours of training
        return views


Shelf = TypeVar("Shelf", bound=Ingredient)
BASES: dict[str, type[Ingredient]] = {
    "data": Data,
    "preprocess": Preprocess,
    "model": Model,
    "layers": Insertion,
    "init": Init,
    "augment": Augmentation,
    "loss": Loss,
    "penalties": Penalty,
    "optimizer": Optim,
    "schedule": Schedule,
}
LISTS = ("layers", "init", "augment", "penalties")


class Recipe(BaseModel):
    """Every decision of one training run. Build it in Python, or read it from TOML."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    about: str = ""  # one sentence: for whom this recipe is
    source: str = ""  # paper or code it follows
    expected: str = ""  # measured result with interval, time and machine
    data: Data | Own | None = None
    preprocess: Preprocess | Own = ChannelStats()
    model: Model | Own = ResNet()
    layers: tuple[Insertion | Own, ...] = ()
    init: tuple[Init | Own, ...] = ()
    augment: tuple[Augmentation | Own, ...] = ()
    loss: Loss | Own = CrossEntropy()
    penalties: tuple[Penalty | Own, ...] = ()
    optimizer: Optim | Own = SGD()
    schedule: Schedule | Own = Cosine()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()

    @field_validator(*BASES, mode="before")
    @classmethod
    def _by_kind(cls, value: Any, info: ValidationInfo) -> Any:
        base, folder = BASES[str(info.field_name)], (info.context or {}).get("folder")
        if info.field_name in LISTS:
            if not isinstance(value, list | tuple):
                raise RecipeError(
                    f"`{info.field_name}` is a list of tables",
                    fix=f"write [[{info.field_name}]] instead of [{info.field_name}]",
                )
            return tuple(
                _ingredient(base, item, folder, f"{info.field_name}[{place}]")
                for place, item in enumerate(value)
            )
        return _ingredient(base, value, folder, str(info.field_name))

    @field_validator("train", "evaluate", mode="before")
    @classmethod
    def _settings(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = {"train": Train, "evaluate": Evaluate}
        if not isinstance(value, dict):
            return value
        try:
            return kinds[str(info.field_name)](**value)
        except RecipeError as error:
            error.problem = error.problem.replace("recipe ", f"{info.field_name} ", 1)
            raise error.located(str(info.field_name)) from None

    def replaced(self, **sections: Any) -> "Recipe":
        """A copy with some sections changed, checked like a new one."""
        return type(self)(
            **{name: getattr(self, name) for name in type(self).model_fields} | sections
        )


def _ingredient(base: type[Ingredient], value: Any, folder: Path | None, at: str) -> Any:
    """An ingredient from a table {"kind": ..., settings}; ready-made ones pass."""
    if value is None or isinstance(value, base | Own):
        return value
    if callable(value) and not isinstance(value, Ingredient):
        return Own(kind=getattr(value, "__name__", type(value).__name__), target=value)
    if not isinstance(value, dict):
        raise RecipeError(
            f"{value!r} is not {_a(base.noun)}",
            at=at,
            fix=f"write a table with `kind = ...` under [{at}]",
        )
    settings = dict(value)
    kind = settings.pop("kind", None)
    if not isinstance(kind, str):
        raise RecipeError(
            f"this {base.noun} has no kind",
            at=at,
            fix="write `kind = ...`; `goodfit explain` lists them",
        )
    try:
        found = find(base, kind, folder)
        if isinstance(found, type) and issubclass(found, base):
            return found(**settings)
    except RecipeError as error:
        raise error.located(at) from None
    return Own(kind=kind, target=found, settings=settings)


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
