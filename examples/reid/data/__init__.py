"""The data sets: their folder layouts, their images in memory, and the batches drawn from them."""
