"""Programs of someone who had not read the rules, verified and fixed before any doctor saw them.

Removed when verified, before any scoring:
    folder_name_within_the_sentence  does not hurt

Written anew when verified, because a fault did not hurt or a twin did not learn, with the same
fault in another setting: hardly_any_bursts, one_file_of_recordings_per_class,
cutmix_that_keeps_the_covered_label, bands_and_places_reshaped, oversampled_before_the_split,
recurrent_weights_of_one_constant, arc_cosine_of_equal_embeddings, averaged_over_time_first,
losses_added_over_a_large_batch, lion_at_the_rate_of_sgd, first_layers_two_hundred_times_faster,
rmsprop_with_endless_momentum, empty_vectors_frozen, connections_dropped_and_not_rescaled,
all_experts_added_in_evaluation, noisy_code_in_evaluation, moving_average_without_the_buffers,
norms_put_in_evaluation_at_birth, rotary_places_and_gated_units.
"""
