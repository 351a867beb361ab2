"""Any classifier of timm by its name, fresh or from weights. Needs the extra `timm`.

`arch` is a name of `timm.list_models()`. `weights` is "" for none, "default" or the tag of
published weights ("a1_in1k"; downloaded once), or a file, .safetensors or .pth, which is read as
data and never executed. The classifier is replaced; the preprocessing that the weights expect is
used with them. `options` are the net's own, such as {drop_path_rate = 0.1}, or {patch_size = 4} for
a vision transformer on small images; nets with a fixed grid of patches get the images' size as
`img_size`, unless it is given. `stem = "small"` is for convolutional nets on images of about 32
pixels.

Source: Wightman 2019, https://github.com/huggingface/pytorch-image-models. Lecture: CNN
architectures; Transfer learning.
"""

import importlib.util
from difflib import get_close_matches
from typing import Annotated, Any, Self

import torch
from pydantic import AfterValidator, Field
from torch import nn

from goodfit.errors import MissingExtraError, ModelError
from goodfit.models import PixelConstants
from goodfit.models._stem import StemModel, with_small_stem
from goodfit.models._weights import is_file, load_matching, read_weights


def _listed(arch: str) -> str:
    timm = _timm()
    if not timm.is_model(arch):
        close = get_close_matches(arch, timm.list_models(), n=1)
        near = f", perhaps {close[0]!r}" if close else ""
        raise ValueError(f"a name of timm.list_models(){near}")
    return arch


class Timm(StemModel):
    arch: Annotated[str, AfterValidator(_listed)] = "resnet18"
    weights: str = ""  # "", "default", a tag of published weights, or a file
    options: Annotated[dict[str, bool | int | float | str], Field(default_factory=dict)]

    def suited(self, side: int) -> Self:
        if "img_size" not in self.options and not self._takes(img_size=side):
            return super().suited(side)
        sized = self.replaced(options={"img_size": side} | self.options)
        return sized.replaced(stem="full") if self.stem == "auto" else sized

    def _takes(self, **options: int) -> bool:
        """Whether the net can be built with these options, too."""
        try:
            with torch.device("meta"):
                _timm().create_model(self.arch, **(options | self.options))
        except Exception:  # whatever the net's own code raises
            return False
        return True

    def constants(self) -> PixelConstants | None:
        if not self.weights:
            return None
        known = _timm().get_pretrained_cfg(self._tagged())
        return PixelConstants(
            tuple(known.mean), tuple(known.std), known.input_size[-1], known.interpolation
        )

    def __call__(self, classes: int, channels: int = 3) -> nn.Module:
        from_file = is_file(self.weights)
        published = bool(self.weights) and not from_file
        try:
            net: nn.Module = _timm().create_model(
                self._tagged(),
                pretrained=published,
                num_classes=classes,
                in_chans=channels,
                **self.options,
            )
        except OSError as error:  # no network, a full disk; huggingface_hub's own are OSErrors, too
            raise ModelError(
                "the weights cannot be downloaded",
                at=self._tagged(),
                seen=str(error).splitlines()[0],
                fix="connect to the internet once, or copy the weights here and name the file",
            ) from error
        except (TypeError, ValueError, AssertionError) as error:
            raise ModelError(
                f"{self.arch} does not take these options",
                at="model.options",
                seen=str(error).rpartition(") ")[2] or str(error),
                fix="remove the option that is named here",
            ) from error
        if from_file:
            config: Any = net.pretrained_cfg
            head = config["classifier"]
            heads = [head] if isinstance(head, str) else list(head)
            load_matching(
                net,
                read_weights(self.weights),
                head=",".join(f"{name}." for name in heads),
                at=self.weights,
            )
        return with_small_stem(net, keep_kernel=bool(self.weights)) if self.stem == "small" else net

    def _tagged(self) -> str:
        """The name with the tag of its weights, as timm writes it."""
        if self.weights in ("", "default") or is_file(self.weights):
            return self.arch
        timm, bare = _timm(), self.arch.split(".")[0]
        known = [name.partition(".")[2] for name in timm.list_pretrained(f"{bare}.*")]
        if self.weights not in known:
            raise ModelError(
                f"timm has no weights {self.weights!r} for {bare}",
                known=", ".join(known) or "none",
                fix="choose one of these, or write the path of a file",
            )
        return f"{bare}.{self.weights}"


def _timm() -> Any:
    if importlib.util.find_spec("timm") is None:
        raise MissingExtraError("timm", "a model of timm")
    import timm

    return timm
