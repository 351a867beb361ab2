"""The half of the programs that is scored only at the end: other nets, other values, other code."""
