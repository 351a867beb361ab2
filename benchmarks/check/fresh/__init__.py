"""Programs written and verified last and fixed before any doctor saw them.

Removed when verified, before any scoring:
    eight_times_one_mixer_layer           does not hurt
    reshaped_from_channels_last           does not hurt
    tanh_lenet_from_a_wide_uniform        does not hurt, its twin does not learn
    classical_dropout_without_its_factor  its twin does not learn
"""
