"""What some tests need of torch, by version."""

import pytest
import torch

__all__ = ["compiled_loss", "counted_torch", "fully_shard", "kept_fake_tensors", "told_exception"]

compiled_loss = pytest.mark.skipif(torch.__version__ < "2.8", reason="a loss compiles from torch 2.8 on")
told_exception = pytest.mark.skipif(torch.__version__ < "2.9", reason="Dynamo says what was raised from torch 2.9 on")
fully_shard = pytest.mark.skipif(torch.__version__ < "2.9", reason="fully_shard runs on a CPU from torch 2.9 on")
counted_torch = pytest.mark.skipif(
    not torch.__version__.startswith("2.13."), reason="torch's own derivatives count too: the bound is that of 2.13"
)
kept_fake_tensors = pytest.mark.skipif(
    torch.__version__ < "2.13", reason="a saved FakeTensor can lose its mode inside of torch, seen in 2.4 and 2.9"
)
