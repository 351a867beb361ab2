"""Which nets take part, and whether they fit together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from goodfit.errors import RunError
from goodfit.predict import Classifier
from goodfit.run.committee import FILE
from goodfit.run.load import Run

SNAPSHOTS = "snapshots"  # stands for all checkpoints/snapshot-*.safetensors of a run


class Member(NamedTuple):
    """One net: a run and which of its weights."""

    run: Run
    weights: str

    @property
    def name(self) -> str:
        return f"{self.run.path.name}:{self.weights}"

    def classifier(self, device: str | None = None) -> Classifier:
        return self.run.classifier(self.weights, device)


def members_of(paths: Sequence[str | Path], weights: Sequence[str]) -> list[Member]:
    """Every one of `weights` of every run. RunError where there are fewer than two in all."""
    found: list[Member] = []
    for path in paths:
        run = Run(path)
        if (run.path / FILE).exists():
            raise RunError(
                "an ensemble cannot be a member", at=str(path), fix="name its members instead"
            )
        for name in weights:
            found += [Member(run, stem) for stem in _stems(run, name)]
    twice = {m.name for m in found if _same(found, m) > 1}
    if twice:
        raise RunError(
            "a member is named twice, which would count it double",
            at=min(twice),
            fix="name every run once",
        )
    if len(found) < 2:
        raise RunError(
            "an ensemble needs at least two members",
            seen=", ".join(m.name for m in found) or "none",
            fix="name several runs, or several weights of one: --members last,best",
        )
    return found


def _same(found: list[Member], member: Member) -> int:
    place = member.run.path.resolve(), member.weights
    return sum((m.run.path.resolve(), m.weights) == place for m in found)


def _stems(run: Run, name: str) -> list[str]:
    folder = run.directory.checkpoints
    if name == SNAPSHOTS:
        stems = sorted(p.stem for p in folder.glob("snapshot-*.safetensors"))
    else:
        stems = [name] if (folder / f"{name}.safetensors").is_file() else []
    if not stems:
        kept = sorted(p.stem for p in folder.glob("[!.]*.safetensors"))
        raise RunError(
            f"the run has no weights called {name!r}",
            at=str(run.path),
            known=", ".join(kept) or "none: it is not finished",
            fix=f"name one of these with --members, or finish it: `goodfit resume {run.path}`",
        )
    return stems


def check_agreement(members: Sequence[Member], *, same_images: bool) -> None:
    """Refuse members that see other images or name other classes than the first."""
    first = members[0].run
    for run in (member.run for member in members[1:]):
        lacks = sorted(set(first.classes) - set(run.classes))
        adds = sorted(set(run.classes) - set(first.classes))
        if lacks or adds:
            raise RunError(
                "the members have different classes",
                at=f"{first.path} and {run.path}",
                lacks=", ".join(lacks[:5]) or "none",
                adds=", ".join(adds[:5]) or "none",
                fix="put runs together that were trained on the same classes",
            )
        one, other = _sizes(first), _sizes(run)
        for what, seen in one.items():
            if seen != other[what]:
                raise RunError(
                    f"the members see images with another {what}",
                    at=f"{first.path} and {run.path}",
                    seen=f"{seen} and {other[what]}",
                    fix="put runs together that prepare images in the same way",
                )
        if same_images and run.data["fingerprint"] != first.data["fingerprint"]:
            raise RunError(
                "the members were trained on other images, or on another split of them",
                at=f"{first.path} and {run.path}",
                seen=f"fingerprints {first.data['fingerprint']} and {run.data['fingerprint']}",
                fix="train them on one split (data.seed), or give --data that none has trained on",
            )


def _sizes(run: Run) -> dict[str, Any]:
    """What happens to an image before a member's own preprocessing."""
    train, evaluate = run.recipe.train, run.recipe.evaluate
    return {
        "number of channels": run.data["channels"],
        "size": evaluate.image_size or train.image_size,
        "resize": evaluate.resize,
    }
