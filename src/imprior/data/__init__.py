"""Sources, images, corruption, batches."""
