"""The half of the programs that the rules may be tuned on."""
