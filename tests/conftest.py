"""One thread for each test process: the batches are small, and the processes share the machine."""

import torch

torch.set_num_threads(1)
