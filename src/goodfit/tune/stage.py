"""A stage of the search and its study in Optuna's storage: a journal file, or a database's URL."""

import json
from math import inf
from pathlib import Path
from typing import Any, Literal, NamedTuple

from goodfit.errors import MissingExtraError, RecipeError
from goodfit.rand import key_of
from goodfit.recipe.read import parsed
from goodfit.run.directory import replacing
from goodfit.tune.space import Base, Settings, Space, from_plain

State = Literal["finished", "pruned", "failed", "running"]
SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("asha", "hyperband", "median", "none")
LOOKS = 9  # at validation, in a trial, at most: halving by 3 has rungs at 1, 3 and 9


def looks(epochs: float) -> int:
    """Looks at validation in a trial: a few where a look costs much of an epoch."""
    return LOOKS if epochs > 3 else 3


class Stage(NamedTuple):
    """Everything a process needs to work on one stage; goes through JSON."""

    name: str
    recipe: str  # TOML of the base
    folder: str  # of the base recipe's own files, or ""
    runs: str  # where trials are kept
    storage: str  # a journal file, or a URL
    space: list[dict[str, Any]]
    epochs: float
    constant: bool  # rate
    target: int  # trials
    deadline: float = inf  # seconds since 1970
    most_epochs: float = inf  # of all trials together
    sampler: str = "tpe"
    pruner: str = "asha"
    seed: int = 0
    device: str | None = None

    def base(self) -> Base:
        folder = Path(self.folder) if self.folder else None
        return Base(parsed(self.recipe, "the recipe"), "the recipe", folder)

    @property
    def dimensions(self) -> Space:
        return from_plain(self.space)

    def write(self, path: Path) -> None:
        with replacing(path) as beside:
            beside.write_text(json.dumps(self._asdict()), "utf-8")

    @classmethod
    def read(cls, path: Path) -> "Stage":
        return cls(**json.loads(path.read_text("utf-8")))


class Done(NamedTuple):
    """A trial as the storage has it."""

    number: int
    settings: Settings
    state: State
    accuracy: float | None
    epochs: float
    seconds: float
    place: str


def optuna() -> Any:
    """The library, quiet. Raises MissingExtraError."""
    try:
        import optuna as library
    except ImportError:
        raise MissingExtraError("tune", "searching hyperparameters") from None
    library.logging.set_verbosity(library.logging.ERROR)
    return library


def check_names(sampler: str, pruner: str) -> None:
    """Raises RecipeError for a sampler or pruner that there is not."""
    for noun, name, known in (("sampler", sampler, SAMPLERS), ("pruner", pruner, PRUNERS)):
        if name not in known:
            raise RecipeError(
                f"there is no {noun} {name!r}",
                known=", ".join(known),
                fix=f"write --{noun} {known[0]}",
            )


def opened(stage: Stage) -> Any:
    """The stage's study, made if it is new."""
    library = optuna()
    try:
        return library.create_study(
            study_name=stage.name,
            storage=_storage(stage.storage),
            direction="maximize",
            load_if_exists=True,
            pruner=_pruner(stage),
        )
    except (ImportError, OSError, ValueError, library.exceptions.StorageInternalError) as error:
        raise RecipeError(
            "the storage of the study cannot be opened",
            at=stage.storage,
            seen=str(error).splitlines()[0],
            fix="give a file that can be written, or a URL such as postgresql://user@host/name "
            "and install its driver (pip install 'psycopg[binary]')",
        ) from None
    except Exception as error:  # SQLAlchemy's own, which may not be installed
        if "sqlalchemy" not in type(error).__module__:
            raise
        raise RecipeError(
            "the storage of the study cannot be opened",
            at=stage.storage,
            seen=str(error).splitlines()[0],
            fix="correct the URL; it begins like sqlite:/// or postgresql://",
        ) from None


def _storage(place: str) -> Any:
    if "://" in place:
        return place
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    Path(place).parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(place))


def _pruner(stage: Stage) -> Any:
    pruners = optuna().pruners
    return {
        "asha": lambda: pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        "hyperband": lambda: pruners.HyperbandPruner(
            min_resource=1, max_resource=looks(stage.epochs), reduction_factor=3
        ),
        "median": lambda: pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1),
        "none": pruners.NopPruner,
    }[stage.pruner]()


def sampler_of(stage: Stage, number: int, salt: int) -> Any:
    """One per trial, seeded by its number: what is asked next depends on the history alone."""
    samplers = optuna().samplers
    seed = key_of(stage.seed, f"{stage.name} {number} {salt}")[0]
    if stage.sampler == "tpe":
        return samplers.TPESampler(seed=seed, n_startup_trials=5, constant_liar=True)
    return samplers.RandomSampler(seed=seed)
