"""Data: a Source is a sized, indexable set of images with classes; a Loader makes device batches."""
