"""Diagnostics of any number of rows in bounded memory: batches come one by one, on one rank or on several."""

import torch
from torch import Tensor
from torch import distributed as dist

from modinv._checks import check_batch, check_count
from modinv.batches import Batch
from modinv.diagnostics.accuracy import modality_accuracy
from modinv.diagnostics.histograms import distance_histograms
from modinv.diagnostics.identities import CellSums, alignment_of, cells_of, distances_of, merged
from modinv.diagnostics.moments import gap_of_moments, no_moments, over_ranks, ranks_of_moments, with_rows
from modinv.diagnostics.report import FeatureReport
from modinv.diagnostics.rows import finite_rows
from modinv.diagnostics.sample import Sample, joined_samples, no_sample
from modinv.diagnostics.sphere import uniformity
from modinv.distributed import gather_batch, sum_over_ranks

__all__ = ["StreamingDiagnostics"]


class StreamingDiagnostics:
    """Collect batches of features and report on all of them, in bounded memory.

    Gap, effective rank, distances of identities and alignment are those of all rows: counts, means and scatters of the
    modalities and sums over the cells are kept, and they add up. Uniformity, the two accuracies and the histograms need
    rows, and get an even sample of them. While all rows fit into it, they are those of all rows too.

    Memory is M D^2 numbers for the scatters, D for each cell of identity and modality, and ``sample_size`` rows, all in
    float64. An update costs O(N D^2 + C D) for C cells, and waits for the device.

    Args:
        num_features: D.
        num_modalities: M; default 2.
        sample_size: rows of the sample; default 2048, our choice: two million pairs.
        seed: of the sample, which is the same for the same batches. Each rank adds its number.
        device: where the numbers are kept; default: the CPU. Batches may come from any device.

    Raises:
        TypeError, ValueError: at construction on an impossible option; at :meth:`update` when a batch breaks the data
            contract, has another D, or a feature is not finite.

    Example:
        >>> import torch
        >>> diagnostics = StreamingDiagnostics(8)
        >>> generator = torch.Generator().manual_seed(0)
        >>> for batch in range(3):
        ...     features = torch.randn(16, 8, generator=generator)
        ...     diagnostics.update(features, torch.arange(16) % 4, torch.arange(16) // 8)
        >>> report = diagnostics.compute()
        >>> report.rows.tolist(), report.sample_rows
        ([24.0, 24.0], 48)
        >>> diagnostics.reset()
    """

    def __init__(
        self,
        num_features: int,
        *,
        num_modalities: int = 2,
        sample_size: int = 2048,
        seed: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        self.num_features = check_count("num_features", num_features)
        self.num_modalities = check_count("num_modalities", num_modalities)
        self.sample_size = check_count("sample_size", sample_size)
        self.seed = check_count("seed", seed, least=0)
        self.device = torch.device("cpu" if device is None else device)
        self.reset()

    def reset(self) -> None:
        """Forget all rows."""
        self._moments = no_moments(self.num_features, self.num_modalities, self.device)
        self._sample = no_sample(self.num_features, self.device)
        self._cells = cells_of(self._sample.rows, self._sample.labels, self._sample.modalities)
        self._random: Tensor | None = None  # the state of the generator, which itself cannot be copied or pickled

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor, modalities: Tensor) -> None:
        """Add a batch.

        Args:
            features: (N, D), any floating type; no gradient is kept.
            labels: identity of each row, integers (N,).
            modalities: 0 visible, 1 infrared, …, integers (N,).
        """
        check_batch(features, labels, modalities, self.num_modalities)
        if features.shape[1] != self.num_features:
            raise ValueError(
                f"features must have {self.num_features} columns, as at construction, got {features.shape[1]}"
            )
        labels, modalities = (numbers.to(self.device, torch.long) for numbers in (labels, modalities))
        if not ((modalities >= 0) & (modalities < self.num_modalities)).all():  # an accelerator's are not checked above
            raise ValueError(f"modalities must be numbers from 0 to {self.num_modalities - 1}, got another")
        rows = finite_rows(features.detach().to(self.device))
        cells = cells_of(rows, labels, modalities)
        self._moments = with_rows(self._moments, rows, modalities)
        self._cells = _together(self._cells, cells)
        self._sample = joined_samples(
            self._sample, Sample(rows, labels, modalities, self._draw(len(rows))), self.sample_size
        )

    @torch.no_grad()
    def compute(self) -> FeatureReport:
        """Return what all rows show, and keep them.

        Costs an eigendecomposition of D x D numbers for each modality, and all pairs of the sampled rows.
        """
        rows, labels, modalities, _ = self._sample
        return FeatureReport(
            rows=self._moments.counts,
            gap=gap_of_moments(self._moments),
            effective_rank=ranks_of_moments(self._moments),
            identities=distances_of(self._cells),
            alignment=alignment_of(self._cells),
            sample_rows=len(rows),
            uniformity=uniformity(rows),
            nearest_mean_accuracy=modality_accuracy(rows, modalities, num_modalities=self.num_modalities),
            linear_accuracy=modality_accuracy(
                rows, modalities, classifier="linear", num_modalities=self.num_modalities
            ),
            histograms=distance_histograms(rows, labels, modalities),
        )

    @torch.no_grad()
    def gather(self, *, group: dist.ProcessGroup | None = None) -> "StreamingDiagnostics":
        """Return the diagnostics of the rows of all ranks, the same on each; every rank has to call it.

        A rank may have no row. What was kept on a rank stays there, so a later call counts no row twice. Without an
        initialised process group it is a copy.

        Args:
            group: default: all ranks. Its backend must know the device: NCCL needs ``device="cuda"`` at construction.
        """
        together = StreamingDiagnostics(
            self.num_features,
            num_modalities=self.num_modalities,
            sample_size=self.sample_size,
            seed=self.seed,
            device=self.device,
        )
        together._moments = over_ranks(self._moments, lambda part: sum_over_ranks(part, group=group))
        rows, labels, modalities, numbers = self._sample
        packed = gather_batch(Batch(torch.cat([rows, numbers[:, None]], dim=1), labels, modalities), group=group)
        everyone = Sample(packed.features[:, :-1], packed.labels, packed.modalities, packed.features[:, -1])
        together._sample = joined_samples(together._sample, everyone, self.sample_size)
        together._cells = _gathered_cells(self._cells, group)
        together._random = self._random  # from the start again, later rows would share the numbers of earlier ones
        return together

    def _draw(self, count: int) -> Tensor:
        generator = torch.Generator()
        if self._random is None:
            rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
            generator.manual_seed(self.seed + rank)
        else:
            generator.set_state(self._random)
        numbers = torch.rand(count, generator=generator, dtype=torch.float64)
        self._random = generator.get_state()
        return numbers.to(self.device, self._sample.numbers.dtype)


def _together(first: CellSums, second: CellSums) -> CellSums:
    return merged(CellSums(*(torch.cat(parts) for parts in zip(first, second, strict=True))))


def _gathered_cells(cells: CellSums, group: dist.ProcessGroup | None) -> CellSums:
    columns = torch.cat([cells.counts[:, None], cells.squares[:, None], cells.sums], dim=1)  # (C, 2 + D)
    columns, labels, modalities = gather_batch(Batch(columns, cells.labels, cells.modalities), group=group)
    return merged(CellSums(labels, modalities, columns[:, 0], columns[:, 1], columns[:, 2:]))
