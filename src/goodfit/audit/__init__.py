"""Does the average of training equal evaluation? Tested for every random part of a model.

    E_z f(x, z) = f_eval(x) ?

Finds what is random: our layers, torch's, timm's and torchvision's, and modules of your own (by
watching which module draws random numbers, or answers differently to the same input). Each is
tested by itself, on the input that it gets in the model, in a copy: the model, its buffers, modes
and hooks and all random states are left as they were. Functions that draw in a forward are tested
at what the next layer reads, and told with it. Verdicts are

- exact: no difference was found between the average over draws and evaluation;
- approximate: there is one, as is usual behind a nonlinearity, for batch norm and by design for
  AlphaDropout; its size is given with an interval;
- wrong: random in evaluation, not scaled or scaled twice, or running statistics that are off.

A net without faults gets a "wrong" with probability at most `false_alarm`, over all its parts
together (Holm), and differences below half a percent are never called wrong.

Lecture: Regularization, "training: add randomness; testing: average it out".
"""

from goodfit.audit._audit import audit
from goodfit.audit._augment import audit_augment
from goodfit.audit._finding import Audit, Finding, Gap

__all__ = ["Audit", "Finding", "Gap", "audit", "audit_augment"]
