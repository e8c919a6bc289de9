"""The images in memory, their augmentation, and the batches drawn from them."""
