"""Transfer learning: begin with weights that were trained on other images.

    probe       the net is frozen and run once on every view; its classifier is a logistic
                regression on these features, trained to convergence       seconds
    two-phase   the probe, then the whole net from there, with rates that fall with depth
    gradual     layers are set free stage by stage, from the classifier down to the images
    fine-tune   the whole net at once, from a fresh classifier
    auto        one of these, by the number of images and by how well the features tell them apart

Frozen means frozen: weights, and the statistics of batch norm, which stays in evaluation mode.

The views of the probe are the center of every image and, where the recipe flips, its mirror image.
How strongly its weights are held back (L2) is chosen on the validation split. What comes out is a
run like any other; the test split is used once. Not for nets whose weights come from images like
the test images: that is a leak which no split can show.

Source: Kornblith et al. 2019, arXiv:1805.08974 (probes and fine-tuning); Kumar et al. 2022,
arXiv:2202.10054 (probe, then fine-tune); Howard & Ruder 2018, arXiv:1801.06146 (gradual
unfreezing). Lecture: Transfer learning.
"""

from goodfit.transfer.make import Mode, transfer

__all__ = ["Mode", "transfer"]
