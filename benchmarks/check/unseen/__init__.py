"""Programs of someone who saw neither the rules nor the doctor, verified before any scoring.

Removed when verified, before any scoring:
    gates_over_places                  does not learn
    poisson_counts                     does not learn
    eight_images_and_batch_norm        does not learn
    two_dense_stages                   does not learn
    lenet_for_plates                   does not learn
    tanh_after_filters_of_deviation_one    its twin does not learn
    competing_with_the_batch           hardly hurts

Taken out before any scoring, though verified or not run, because others are much like them:
every_patch_has_a_vote, gabor_filters_first, probabilities_and_squared_error,
signs_of_the_momentum, squares_left_out_of_the_maps, weights_of_four_bits, filter_responses,
stars_count_from_one, shrunk_to_two_pixels_first, mask_of_what_to_hide_used_to_keep,
rmsprop_at_one_half, reviews_at_a_millionth, l2_of_one_fifth_on_a_reader.

Mended when verified, because a fault did not hurt, or a twin or healthy program did not learn or
learnt unsteadily from seed to seed, or its data repeated themselves:
redrawn_and_named, plates_from_a_stream, one_convolution_four_times,
one_score_and_four_thresholds, wide_filters_and_layer_scale, silent_blocks_and_large_batches,
a_little_uphill_along_the_momentum, all_images_at_every_step, lost_cells_become_medians,
products_go_straight_to_the_answer, messages_along_the_bonds, sums_over_neighbours,
validation_cut_from_a_sorted_folder, one_worker_does_not_divide, bucketed_by_class,
sentinels_left_in_the_validation_table, running_averages_of_the_last_batch,
dropped_and_never_rescaled, narrow_layers_in_a_plain_list, gates_are_drawn_in_evaluation_too,
clamped_where_a_sigmoid_was_missing, summed_over_a_hundred_images, frozen_up_to_the_last_layer,
halved_at_every_step, a_warmup_of_a_hundred_thousand_steps.
"""
