"""Hyperparameters by Johnson's seven steps, walked by themselves and told in words.

    1  initial loss     the untrained net's loss is about ln C
    2  overfit          a few batches are learned to 100%, without regularization
    3  rate             the learning rate that makes the loss fall fastest, tried on copies
    4  coarse           a grid around it, a few epochs each at a constant rate
    5  refine           TPE or random search in the part that was good; bad trials end early
    6  curves           rules look at the best trial: underfit, overfit, rate, plateau
    7  onward           go back to 5 with what the rules say, or stop
    then                the final recipe is trained whole, and the test split is looked at, once

Trials of step 5 follow the recipe's own schedule over their fewer epochs, not a constant rate as
on the slide: the rate that is best with decay is higher than the best without, and decay is what
the final run has.

The validation split chooses, so its accuracy of the best trial is too good. Trials are given data
without a test split; only the final run, after the search, sees it, and a study that has looked
is closed.

Not for comparing ingredients: the best of many trials proves nothing. `goodfit compare` does.

Source: Johnson, EECS 498-007, lecture 11. Lecture: Choosing hyperparameters.
"""

from goodfit.tune.rate import search_lr
from goodfit.tune.tune import tuned

__all__ = ["search_lr", "tuned"]
