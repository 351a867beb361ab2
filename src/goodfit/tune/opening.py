"""Steps 1 to 3, on copies, before any trial: what can be known without training anything."""

from math import inf

from goodfit.optim import Optim
from goodfit.run.job import changes_of
from goodfit.tune import first
from goodfit.tune.budget import CHECKS
from goodfit.tune.rate import Rates, search_lr
from goodfit.tune.walk import Walk, curve


def initial_loss(walk: Walk) -> None:
    job, pieces = walk.built()
    some = walk.some(job)
    found = first.initial_loss(pieces.model, some)
    walk.note("initial loss", found.words, found.onward, {"loss": found.loss})


def overfit(walk: Walk) -> None:
    job, pieces = walk.built(bare=True)
    found = first.overfitted(
        pieces.model,
        pieces.optimizer,
        walk.some(job),
        loss=pieces.loss,
        seconds=walk.allowed(CHECKS * 0.3),
        precision=pieces.precision,
    )
    line = curve("loss of a few batches", enumerate(found.losses, 1), "update")
    walk.note("overfit", found.words, found.onward, {"accuracy": found.accuracy}, line)


def rate(walk: Walk) -> None:
    own = walk.base.recipe().optimizer
    if not isinstance(own, Optim):
        said = "This optimizer is the user's own, so its learning rate is left as it is."
        walk.note("rate", said, "Tuning goes on with the rest.", {"lr": None})
        return
    job, pieces = walk.built(small_decay=True)
    recipe = job.recipe
    found = search_lr(
        pieces.model,
        pieces.optimizer,
        job.loader,
        loss=pieces.loss,
        seconds=walk.allowed(CHECKS * 0.7),
        augment=changes_of(job),
        penalties=recipe.penalties,
        clip_norm=recipe.train.clip_norm or inf,
        precision=pieces.precision,
        accumulate=recipe.train.accumulate,
        seed=recipe.train.seed,
    )
    scale = own.lr / pieces.optimizer.param_groups[0]["lr"]  # as the recipe states it
    lr = own.lr if found.lr is None else float(f"{found.lr * scale:.3g}")
    epoch = found.seconds_per_step * len(job.loader) / recipe.train.accumulate
    words, onward = _rate_words(found, scale, lr)
    dots = [(row.lr * scale, min(row.end, 2 * found.start)) for row in found.tried]
    line = curve("loss after a few updates", dots, "learning rate", log_x=True, dots=True)
    walk.note("rate", words, onward, {"lr": lr, "epoch_seconds": epoch}, line)


def _rate_words(found: Rates, scale: float, lr: float) -> tuple[str, str]:
    tried = ", ".join(
        f"{row.lr * scale:.3g}: {row.end:.3g}" if row.end < inf else f"{row.lr * scale:.3g}: broke"
        for row in found.tried
    )
    words = f"The loss began at {found.start:.3g} and went, by learning rate, to: {tried}."
    if found.lr is None:
        return words, f"None lowers it, so the search begins at the recipe's own {lr:.3g}."
    return words, f"The search begins around {lr:.3g}, the largest of those that lower it most."
