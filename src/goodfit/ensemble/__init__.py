"""Ensembles: several trained nets as one, or their weights averaged into one.

    probabilities   p(y | x) = mean over members of softmax f_m(x)      m times the cost of one net
    logits          softmax of the mean of log p_m: a geometric mean, which one doubter can veto
    uniform-soup    one net with the mean of all weights                the cost of one net
    greedy-soup     the best net on validation, then the others in order of their validation
                    accuracy, each kept if the soup with it is no worse on validation

Members are independent runs, or checkpoints of a run (last, best, snapshots of cosine restarts).
A soup needs members that started from the same weights, such as fine-tunings of one pretrained
net or checkpoints of one run: between independent runs the mean is usually worthless, and the
report shows it. Batch norm is recomputed on training images.

Members must not have trained on the validation images of the others, so their data and split must
be the same, or images be given. Validation decides; the test split is used once, at the end.

Source: Lakshminarayanan et al. 2017, arXiv:1612.01474; Huang et al. 2017, arXiv:1704.00109
(snapshots); Wortsman et al. 2022, arXiv:2203.05482 (soups). Lecture: Model ensembles.
"""

from goodfit.ensemble.make import How, ensemble

__all__ = ["How", "ensemble"]
