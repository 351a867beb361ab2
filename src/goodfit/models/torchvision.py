"""Any classifier of torchvision by its name, fresh or from weights.

`arch` is a name of `torchvision.models.list_models()`. `weights` is "" for none, "default" or the
name of published weights ("IMAGENET1K_V2"; downloaded once), or a file, .safetensors or .pth,
which is read as data and never executed. The classifier is replaced; the preprocessing that the
weights expect is used with them. `stem = "small"` is for images of about 32 pixels; nets with a
fixed grid of patches are built for `image_size`, that of the images, instead.

Source: torchvision, https://docs.pytorch.org/vision/stable/models.html. Lecture: CNN architectures.
"""

from difflib import get_close_matches
from typing import Annotated, Any, Self

from pydantic import AfterValidator
from torch import nn
from torchvision import models as tv

from goodfit.errors import ModelError
from goodfit.ingredient import Count
from goodfit.models import PixelConstants
from goodfit.models._stem import StemModel, with_channels, with_small_stem
from goodfit.models._weights import is_file, load_matching, read_weights

HEADS = "fc.,classifier.,heads.,head.,aux1.,aux2.,AuxLogits."
_WITH_AUX = ("googlenet", "inception_v3")
_SIZED = {"vit": "image_size", "maxvit": "input_size"}  # what builders of fixed grids call the side


def _listed(arch: str) -> str:
    known = tv.list_models(module=tv)
    if arch not in known:
        close = get_close_matches(arch, known, n=1)
        near = f", perhaps {close[0]!r}" if close else ""
        raise ValueError(f"a name of torchvision.models.list_models(){near}")
    return arch


class Torchvision(StemModel):
    arch: Annotated[str, AfterValidator(_listed)] = "resnet18"
    weights: str = ""  # "", "default", the name of published weights, or a file
    image_size: Count | None = None  # of nets with a fixed grid; None: 224

    def suited(self, side: int) -> Self:
        if self._sized() is None:
            return super().suited(side)
        sized = self.replaced(image_size=self.image_size or side)
        return sized.replaced(stem="full") if self.stem == "auto" else sized

    def _sized(self) -> str | None:
        """What the builder calls the side of the images, if the net has a fixed grid."""
        return _SIZED.get(self.arch.partition("_")[0])

    def constants(self) -> PixelConstants | None:
        if not self.weights:
            return None
        published = tv.get_model_weights(self.arch)
        preset = (published.DEFAULT if is_file(self.weights) else self._published()).transforms()
        return PixelConstants(
            tuple(preset.mean), tuple(preset.std), preset.crop_size[0], preset.interpolation.value
        )

    def __call__(self, classes: int, channels: int = 3) -> nn.Module:
        side, name = self.image_size, self._sized()
        sized = {name: (side, side) if name == "input_size" else side} if side and name else {}
        try:
            net = build(self.arch, classes, **sized)
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"{self.arch} cannot be built for these images",
                image_size=side or 224,
                seen=str(error).partition("\n")[0][:160],
                fix="resize the images to 224 pixels with train.image_size, or take another net",
            ) from error
        with_channels(net, channels)
        if self.stem == "small":
            with_small_stem(net, keep_kernel=bool(self.weights))
        if self.weights:
            state = (
                read_weights(self.weights)
                if is_file(self.weights)
                else self._published().get_state_dict(progress=False, check_hash=True)
            )
            load_matching(net, state, head=HEADS, at=self.weights)
        return net

    def _published(self) -> Any:
        known = tv.get_model_weights(self.arch)
        name = known.DEFAULT.name if self.weights == "default" else self.weights
        if name not in known.__members__:
            raise ModelError(
                f"torchvision has no weights {self.weights!r} for {self.arch}",
                known=", ".join(known.__members__),
                fix="choose one of these, or write the path of a file",
            )
        return known[name]


def build(arch: str, classes: int, **settings: Any) -> nn.Module:
    """torchvision's net with a classifier for `classes`; auxiliary heads count 0.3 in the loss."""
    if arch in _WITH_AUX:
        settings = {"aux_logits": True, "init_weights": True, "transform_input": False} | settings
    net: nn.Module = tv.get_model(arch, weights=None, num_classes=classes, **settings)
    if arch in _WITH_AUX:
        net.aux_weight = 0.3  # type: ignore[assignment]
    return net
