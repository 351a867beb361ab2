"""Writing a classifier as a graph, and running the written file."""

import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from goodfit.errors import MissingExtraError, ModelError
from goodfit.predict import Classifier
from goodfit.run.load import Run

Runner = Callable[[Tensor], Tensor]


class Graph(nn.Module):
    """Images as they are stored → logits. Pixels are brought to 0..1 first, whatever comes."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        scaled = images if images.is_floating_point() else images.float() / 255
        logits: Tensor = self.model(scaled)
        return logits


def write_onnx(model: Classifier, images: Tensor, path: Path, about: Mapping[str, str]) -> None:
    """An ONNX file with one file's worth of weights inside, and `about` as its metadata."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise MissingExtraError("onnx", "exporting to ONNX")
    program = _captured(model, images)
    made = torch.onnx.export(
        program, (), input_names=["images"], output_names=["logits"], dynamo=True, verbose=False
    )
    assert made is not None
    made.model.metadata_props.update(about)
    made.save(path)


def run_onnx(path: Path) -> Runner:
    """The file in onnxruntime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def write_torch(model: Classifier, images: Tensor, path: Path, about: Mapping[str, str]) -> None:
    """A program of torch.export, with `about` as the extra file goodfit.json."""
    program = _captured(model, images)
    with path.open("wb") as file:  # by its name torch would want a suffix
        torch.export.save(program, file, extra_files={"goodfit.json": json.dumps(dict(about))})


def run_torch(path: Path) -> Runner:
    """The file, loaded again."""
    with path.open("rb") as file:
        module: Any = torch.export.load(file).module()
    return lambda images: module(images).detach()


def _captured(model: Classifier, images: Tensor) -> torch.export.ExportedProgram:
    """The graph for batches of any size."""
    batch = torch.export.Dim("n", min=1)
    try:
        with torch.no_grad():
            return torch.export.export(
                Graph(model).eval(), (images,), dynamic_shapes={"images": {0: batch}}
            )
    except Exception as error:  # whatever a foreign forward raises under tracing
        raise ModelError(
            "this net cannot be written as a graph",
            at=type(model.net).__name__,
            seen=(str(error).strip().splitlines() or [type(error).__name__])[0][:160],
            fix="export it as safetensors, or let its forward not depend on values or batch size",
        ) from None


def write_safetensors(
    model: Classifier, images: Tensor, path: Path, about: Mapping[str, str]
) -> None:
    """Weights and buffers by name, with `about` as metadata."""
    del images
    tensors = {k: t.detach().cpu().contiguous().clone() for k, t in model.state_dict().items()}
    save_file(tensors, path, metadata=dict(about))


def run_safetensors(path: Path, run: Run) -> Runner:
    """The weights in a net built anew from the run's recipe, not in the one they came from."""
    model = run.classifier(device="cpu")
    for tensor in model.state_dict().values():
        tensor.zero_()
    with safe_open(path, "pt") as file:
        model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    graph = Graph(model).eval()
    return lambda images: graph(images).detach()
