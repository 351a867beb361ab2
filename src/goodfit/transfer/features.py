"""What a frozen net sees in images: the input of its classifier, computed once for every view."""

import json
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from goodfit.augment.flip import Flip
from goodfit.batch import Batch
from goodfit.data.loader import Loader
from goodfit.errors import DataError, ModelError
from goodfit.optim import head_of
from goodfit.predict import Classifier, logits_of
from goodfit.run.directory import replacing


class Features(NamedTuple):
    """Of some images: one matrix for every view, with the weight of the view."""

    views: tuple[Float[Tensor, "n d"], ...]
    shares: tuple[float, ...]  # of the views, with sum 1
    labels: Int[Tensor, " n"]

    def stacked(self) -> tuple[Tensor, Tensor, Tensor]:
        """Features, labels and weights of all views below one another."""
        count = len(self.labels)
        weights = [torch.full((count,), share) for share in self.shares]
        return (
            torch.cat(self.views),
            self.labels.repeat(len(self.views)),
            torch.cat(weights).to(self.labels.device),
        )

    def taken(self, places: Tensor) -> "Features":
        """Those of some of the images."""
        return self._replace(views=tuple(v[places] for v in self.views), labels=self.labels[places])


def head_module(model: Classifier) -> nn.Linear:
    """The classifier of a net, or ModelError if it is not linear."""
    head = model.net.get_submodule(head_of(model.net))
    if isinstance(head, nn.Linear) and head.out_features == len(model.classes):
        return head
    raise ModelError(
        "the last layer of this net is not a linear classifier, so it cannot be probed",
        at=head_of(model.net) or type(model.net).__name__,
        seen=str(head).splitlines()[0][:80],
        fix="use --mode fine-tune, or a net that ends in a linear layer",
    )


def shares_of(augment: Sequence[object]) -> tuple[float, ...]:
    """The weights of center and mirror image, as the recipe flips: (1,) if it does not."""
    prob = next((change.prob for change in augment if isinstance(change, Flip)), 0.0)
    return (1 - prob, prob) if 0 < prob < 1 else (1.0,)


def features(
    model: Classifier, loader: Loader, shares: tuple[float, ...], cache: Path | None = None
) -> Features:
    """Run the frozen net on center and mirror image of everything in `loader`.

    The model is left as it was, batch norm's statistics included. With a folder `cache` the
    features are kept there, and found again for the same images, weights and size.
    """
    file = None if cache is None else cache / f"features-{_key(model, loader, shares)}.safetensors"
    if file is not None and file.exists():
        kept = load_file(file, device=str(loader.device))
        return Features(tuple(kept[f"view{i}"] for i in range(len(shares))), shares, kept["labels"])
    found = _computed(model, loader, shares)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        tensors = {f"view{i}": view.contiguous() for i, view in enumerate(found.views)}
        with replacing(file) as beside:
            save_file(tensors | {"labels": found.labels}, beside)
    return found


def _computed(model: Classifier, batches: Iterable[Batch], shares: tuple[float, ...]) -> Features:
    head, inputs = head_module(model), list[Tensor]()
    hook = head.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    before = [(module, module.training) for module in model.modules()]
    rows: list[list[Tensor]] = [[] for _ in shares]
    labels: list[Tensor] = []
    try:
        model.eval()
        with torch.inference_mode():
            for batch in batches:
                labels.append(batch.targets.argmax(1))
                for mirrored, view in enumerate(rows):
                    inputs.clear()
                    given = batch.images.flip(-1) if mirrored else batch.images
                    logits = logits_of(model(given))
                    if not view:
                        _check(inputs, logits, head)
                    view.append(inputs[0])
    finally:
        hook.remove()
        for module, training in before:
            module.training = training
    if not labels:
        raise DataError("there is no image to learn from", fix="give at least one image per class")
    return Features(tuple(torch.cat(view) for view in rows), shares, torch.cat(labels))


def _check(inputs: list[Tensor], logits: Tensor, head: nn.Linear) -> None:
    """Refuse a net that does something before or after its classifier that a probe cannot know."""
    seen = f"it is called {len(inputs)} times"
    if len(inputs) == 1:
        seen = f"its input has the shape {tuple(inputs[0].shape)}"
        if inputs[0].ndim == 2:
            again = nn.functional.linear(inputs[0], head.weight, head.bias)
            if torch.allclose(again, logits, rtol=1e-3, atol=1e-4):
                return
            seen = "the net changes its output"
    raise ModelError(
        "the logits of this net are not those of its last linear layer, so it cannot be probed",
        seen=seen,
        fix="use --mode fine-tune",
    )


def _key(model: Classifier, loader: Loader, shares: tuple[float, ...]) -> str:
    """Changes when an image, a weight or the way of the pixels does."""
    head = f"net.{head_of(model.net)}."
    state = blake2b(digest_size=12)
    about = [loader.source.fingerprint(), loader.size, loader.channels, len(shares)]
    state.update(json.dumps([*about, str(model.preprocess), str(model.net)]).encode())
    for name, tensor in model.state_dict().items():
        if not name.startswith(head):
            state.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return state.hexdigest()
