"""Programs of someone who had not read the rules, verified and fixed before any doctor saw them.

Removed when verified, before any scoring:
    weights_shared_among_the_batch  hardly hurts
    rate_halved_at_every_batch      its twin does not learn
    gestures_rolled_and_scaled      does not learn

Taken out before any scoring, though verified, because the fault repeats one of another set or a
second label would be as fair: events_compete_within_a_batch, floats_cast_to_bytes, shuffled_apart,
validation_in_bgr, sigmoid_as_in_the_binary_tutorial, epsilon_of_ten,
optimizer_made_before_the_model_was_rebuilt, rate_divided_by_the_number_of_images,
lasso_that_outweighs_the_data.

Mended when verified, because a fault did not hurt or a twin or healthy program did not learn:
bytes_into_a_vgg, one_folder_after_another, every_filter_a_hundredth,
last_layer_a_hundred_times_too_large, root_of_a_product_of_zeros, threshold_without_a_surrogate,
sum_at_the_rate_of_a_mean, momentum_of_0_9995, gru_at_twenty, loaded_filters_kept,
body_at_a_tenth_of_the_rate, turned_erased_and_noisy, deeper_layers_learn_faster, binned_columns,
gates_on_residual_branches, dense_layers_with_swish.
"""
