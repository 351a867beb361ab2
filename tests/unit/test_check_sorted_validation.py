"""A validation set sorted by class and read in order, as folders are, is no fault."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from goodfit.check import check

RULES = ("class-missing", "train-val-shift", "label-mapping-mismatch", "val-not-deterministic")


def pieces(count: int) -> tuple[nn.Module, TensorDataset]:
    """A net and images whose brightness is their class, sorted by class."""
    torch.manual_seed(0)
    y = torch.arange(10).repeat_interleave(count // 10)
    x = torch.randn(count, 1, 4, 4) + y.view(-1, 1, 1, 1)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 10)), TensorDataset(x, y)


def test_a_large_sorted_validation_set_is_quiet():
    model, train = pieces(4000)
    _, val = pieces(6000)
    report = check(model, DataLoader(train, 100, shuffle=True), DataLoader(val, 100), select=RULES)
    assert not report.findings, report


def test_a_sorted_sequence_of_batches_is_quiet():
    model, train = pieces(4000)
    _, val = pieces(6000)
    batches = list(DataLoader(val, 50))
    report = check(model, DataLoader(train, 100, shuffle=True), batches, select=RULES)
    assert not report.findings, report


def test_a_class_that_is_really_missing_is_still_found():
    model, train = pieces(4000)
    x, y = pieces(6000)[1].tensors
    val = TensorDataset(x[y != 3], y[y != 3])
    report = check(model, DataLoader(train, 100, shuffle=True), DataLoader(val, 100), select=RULES)
    assert [(f.rule, f.where) for f in report.findings] == [("class-missing", "class 3")]
