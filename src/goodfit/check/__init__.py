"""A doctor for training: names the fault, the layer, the evidence and the fix."""

from goodfit.check.check import check, check_file, explain, rule_names
from goodfit.check.finding import Finding
from goodfit.check.report import Report
from goodfit.check.watch import Watcher

__all__ = ["Finding", "Report", "Watcher", "check", "check_file", "explain", "rule_names"]
