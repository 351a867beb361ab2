"""Export: a trained run as one file for other programs, preprocessing inside the graph.

    onnx           a graph for onnxruntime and what reads ONNX            needs goodfit[onnx]
    torch-export   a graph for torch.export.load, and from there AOTInductor or ExecuTorch
    safetensors    the weights, with recipe and classes as metadata, for goodfit and Python

The graph takes `images` (n, c, h, w), any n: uint8 in 0..255, or float in 0..1 with
`pixels="float"`, already of the run's size. It gives `logits` (n, k); probabilities are
softmax(logits / temperature), with the temperature from the metadata. Test-time views are not in
the graph. Every file is run on real images of the run before it is kept, in batches of two sizes;
the largest difference to the run is printed and stored.
"""

from goodfit.export.card import card, write_card
from goodfit.export.make import Exported, Format, Pixels, export

__all__ = ["Exported", "Format", "Pixels", "card", "export", "write_card"]
