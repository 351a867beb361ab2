"""Programs written and verified last and fixed before any doctor saw them.

Removed when verified, before any scoring:
    eight_times_one_mixer_layer  does not hurt: 0.952 beside the twin's 0.948
"""
