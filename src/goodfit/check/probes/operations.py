"""Names of torch's operations, sorted by what they do to a signal."""

AFFINE = frozenset(
    [
        "linear",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "matmul",
        "mm",
        "bmm",
        "addmm",
        "baddbmm",
        "einsum",
        "__matmul__",
        "__rmatmul__",
        "bilinear",
        "tensordot",
        "mv",
        "addmv",
    ]
)
ATTENTION = frozenset({"multi_head_attention_forward", "scaled_dot_product_attention"})
RECURRENT = frozenset({"gru", "lstm", "rnn_tanh", "rnn_relu"})
CELLS = frozenset({"gru_cell", "lstm_cell", "rnn_tanh_cell", "rnn_relu_cell"})
NORMS = frozenset(
    [
        "batch_norm",
        "layer_norm",
        "group_norm",
        "instance_norm",
        "rms_norm",
        "normalize",
        "local_response_norm",
    ]
)
DROPOUTS = frozenset(
    [
        "dropout",
        "dropout1d",
        "dropout2d",
        "dropout3d",
        "alpha_dropout",
        "feature_alpha_dropout",
        "feature_dropout",
    ]
)
RECTIFIERS = frozenset({"relu", "relu6", "threshold", "clamp_min", "clip_min"})
CURVES = frozenset(
    [
        "leaky_relu",
        "elu",
        "selu",
        "celu",
        "gelu",
        "silu",
        "mish",
        "prelu",
        "rrelu",
        "hardswish",
        "softplus",
        "hardshrink",
        "softshrink",
        "logsigmoid",
        "glu",
    ]
)
SQUASHERS = frozenset({"sigmoid", "tanh", "hardsigmoid", "hardtanh", "softsign", "expit"})
SOFTMAXES = frozenset({"softmax", "log_softmax", "softmin", "gumbel_softmax"})
RESHAPES = frozenset(
    [
        "view",
        "reshape",
        "flatten",
        "squeeze",
        "unsqueeze",
        "permute",
        "transpose",
        "contiguous",
        "t",
        "swapaxes",
        "movedim",
        "expand",
        "expand_as",
        "to",
        "float",
        "type_as",
        "clone",
        "unflatten",
        "narrow",
        "select",
        "__getitem__",
        "chunk",
        "split",
        "view_as",
        "mT",
        "T",
        "double",
        "half",
        "type",
        "cpu",
        "cuda",
        "identity",
        "repeat",
        "reshape_as",
        "swapdims",
        "squeeze_",
        "unsqueeze_",
        "pixel_shuffle",
        "channel_shuffle",
        "roll",
        "flip",
    ]
)
AVERAGES = frozenset(
    [
        "mean",
        "sum",
        "avg_pool1d",
        "avg_pool2d",
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool3d",
        "pad",
    ]
)
POOLS = frozenset(["max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool2d", "amax", "max"])
SUMS = frozenset({"add", "__add__", "__radd__", "iadd", "__iadd__", "sub", "__sub__", "add_"})
PRODUCTS = frozenset({"mul", "__mul__", "__rmul__", "imul", "__imul__", "mul_", "multiply"})


def plain_name(name: str) -> str:
    """The name without the marks of in-place and internal variants."""
    if name.startswith("__"):
        return name
    return name.lstrip("_").removesuffix("_with_indices").rstrip("_") or name
