from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from reid.data.sampler import CrossModalityPKSampler, Share

IDENTITIES, VISIBLE_IMAGES, INFRARED_IMAGES = 11, 9, 6
LABELS = np.repeat(np.arange(IDENTITIES) * 7 - 3, VISIBLE_IMAGES + INFRARED_IMAGES)
MODALITIES = np.tile([0] * VISIBLE_IMAGES + [1] * INFRARED_IMAGES, IDENTITIES)
SHUFFLE = np.random.default_rng(0).permutation(len(LABELS))
LABELS, MODALITIES = LABELS[SHUFFLE], MODALITIES[SHUFFLE]


def sampler(*, identities: int = 4, images: int = 3, batches: int | None = 20, seed: int = 0) -> CrossModalityPKSampler:
    return CrossModalityPKSampler(LABELS, MODALITIES, identities=identities, images=images, batches=batches, seed=seed)


def test_sampler_gives_every_batch_p_identities_with_k_images_in_each_modality() -> None:
    for rows in sampler():
        cells = Counter(zip(LABELS[rows].tolist(), MODALITIES[rows].tolist(), strict=True))
        assert len(set(LABELS[rows].tolist())) == 4
        assert len(cells) == 8
        assert set(cells.values()) == {3}


def test_batch_has_no_image_twice() -> None:
    assert all(len(set(rows)) == len(rows) == 24 for rows in sampler())


def test_batch_is_a_block_per_modality_in_one_order_of_identities() -> None:
    for rows in sampler():
        assert MODALITIES[rows].tolist() == [0] * 12 + [1] * 12
        assert LABELS[rows[:12]].tolist() == LABELS[rows[12:]].tolist()


def test_batch_is_a_list_of_plain_integers() -> None:
    rows = next(iter(sampler()))
    assert isinstance(rows, list)
    assert {type(row) for row in rows} == {int}


def test_identities_are_dealt_once_before_any_is_dealt_again() -> None:
    dealt = [label for rows in sampler(images=1) for label in LABELS[rows[:4]].tolist()]
    counts: Counter[int] = Counter()
    for number, label in enumerate(dealt, start=1):
        counts[label] += 1
        assert counts[label] <= -(-number // IDENTITIES) + 1  # a batch may straddle two rounds
    assert set(counts.values()) <= {80 // IDENTITIES, 80 // IDENTITIES + 1}


def test_images_of_an_identity_are_dealt_once_before_any_is_dealt_again() -> None:
    # 33 batches of one identity deal each of the 11 three times, and so nine of its nine visible images.
    rows = [row for batch in sampler(identities=1, batches=33) for row in batch]
    visible = [row for row in rows if MODALITIES[row] == 0]
    assert sorted(visible) == np.flatnonzero(MODALITIES == 0).tolist()


def test_identity_with_too_few_images_gives_all_of_them_and_some_again() -> None:
    labels, modalities = [0] * 6 + [1] * 6, ([0] * 4 + [1] * 2) * 2
    for rows in CrossModalityPKSampler(labels, modalities, identities=2, images=4, batches=5):
        assert sorted(Counter(rows[8:]).values()) == [2, 2, 2, 2]
        assert set(rows[8:]) == {4, 5, 10, 11}


def test_single_image_is_repeated() -> None:
    rows = next(iter(CrossModalityPKSampler([5, 5], [0, 1], identities=1, images=3)))
    assert rows == [0, 0, 0, 1, 1, 1]


def test_identity_missing_from_a_modality_is_never_drawn() -> None:
    labels, modalities = [0, 0, 1, 1, 2, 3], [0, 1, 0, 1, 0, 1]
    for rows in CrossModalityPKSampler(labels, modalities, identities=2, images=1, batches=30):
        assert set(rows) == {0, 1, 2, 3}


def test_incomplete_identities_fill_up_where_complete_ones_are_too_few() -> None:
    labels, modalities = [0, 0, 1, 1, 2, 3], [0, 1, 0, 1, 0, 1]
    sampled = CrossModalityPKSampler(labels, modalities, identities=4, images=2, batches=3)
    for rows in sampled:
        assert Counter(rows) == dict.fromkeys(range(6), 2)


def test_three_modalities_give_three_blocks() -> None:
    labels, modalities = np.repeat([0, 1], 6), np.tile([0, 0, 1, 1, 2, 2], 2)
    rows = next(iter(CrossModalityPKSampler(labels, modalities, identities=2, images=2)))
    assert modalities[rows].tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_length_is_the_number_of_batches() -> None:
    for batches in (1, 7, 20):
        drawn = sampler(batches=batches)
        assert len(drawn) == len(list(drawn)) == batches


def test_length_defaults_to_one_pass_over_the_largest_modality() -> None:
    drawn = sampler(batches=None)
    assert len(drawn) == len(list(drawn)) == (IDENTITIES * VISIBLE_IMAGES) // (4 * 3)


def test_default_length_is_at_least_one() -> None:
    assert len(sampler(identities=11, images=50, batches=None)) == 1


def test_batches_of_an_epoch_are_the_same_each_time() -> None:
    drawn = sampler()
    assert list(drawn) == list(drawn)
    assert list(drawn) == list(sampler())


def test_batches_depend_on_the_epoch_and_come_back_with_it() -> None:
    drawn = sampler()
    first = list(drawn)
    drawn.set_epoch(1)
    assert list(drawn) != first
    drawn.set_epoch(0)
    assert list(drawn) == first


def test_batches_depend_on_the_seed() -> None:
    assert list(sampler(seed=1)) != list(sampler(seed=2))


def test_seed_and_epoch_are_no_sum() -> None:
    drawn = sampler(seed=0)
    drawn.set_epoch(1)
    assert list(drawn) != list(sampler(seed=1))


def test_global_random_states_are_not_touched() -> None:
    before = torch.get_rng_state(), repr(np.random.get_state(legacy=False))  # noqa: NPY002
    list(sampler())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert repr(np.random.get_state(legacy=False)) == before[1]  # noqa: NPY002


def test_tensors_are_taken_like_arrays() -> None:
    drawn = CrossModalityPKSampler(
        torch.from_numpy(LABELS), torch.from_numpy(MODALITIES), identities=4, images=3, batches=20
    )
    assert list(drawn) == list(sampler())


def test_data_loader_takes_it_as_batch_sampler() -> None:
    data = TensorDataset(torch.from_numpy(LABELS))
    loader = DataLoader(data, batch_sampler=sampler(batches=2))
    assert [tuple(labels.shape) for (labels,) in loader] == [(24,), (24,)]


def test_too_few_identities_are_refused() -> None:
    with pytest.raises(ValueError, match="A batch takes 12 identities, but the data has 11"):
        sampler(identities=12)


def test_labels_and_modalities_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"have shapes \(3,\) and \(2,\)"):
        CrossModalityPKSampler([0, 0, 1], [0, 1])


@pytest.mark.parametrize("name", ["identities", "images", "batches"])
def test_number_that_is_not_positive_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, but is 0"):
        sampler(**{name: 0})


def test_batches_are_those_that_the_documented_results_were_made_with() -> None:
    labels = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2]
    modalities = [0, 0, 0, 1, 1, 0, 1, 1, 0, 0, 0, 1, 0, 1]
    drawn = CrossModalityPKSampler(labels, modalities, identities=2, images=2, batches=3, seed=4)
    drawn.set_epoch(1)
    assert list(drawn) == [[12, 10, 8, 5, 11, 13, 6, 7], [2, 0, 9, 5, 4, 3, 6, 7], [12, 10, 1, 0, 13, 11, 4, 3]]


def ranks(world_size: int, *, identities: int = 4, images: int = 3) -> list[CrossModalityPKSampler]:
    return [
        CrossModalityPKSampler(
            LABELS, MODALITIES, identities=identities, images=images, batches=5, rank=rank, world_size=world_size
        )
        for rank in range(world_size)
    ]


def together(shares: tuple[Share, ...]) -> list[int]:
    """Put the rows of all ranks where they say that they stand."""
    whole = [-1] * shares[0].total
    for share in shares:
        for row, position in zip(share.rows, share.positions, strict=True):
            assert whole[position] == -1
            whole[position] = row
    return whole


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 5, 7, 12, 15])
def test_ranks_draw_together_what_one_process_draws(world_size: int) -> None:
    shares = zip(*(drawn.shares() for drawn in ranks(world_size)), strict=True)
    assert [together(share) for share in shares] == list(sampler(batches=5))


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_rank_has_whole_identities_and_as_many_as_the_others_or_one_more(world_size: int) -> None:
    for batch in zip(*ranks(world_size), strict=True):
        counts = [len(set(LABELS[rows].tolist())) for rows in batch]
        assert sum(counts) == 4
        assert max(counts) - min(counts) <= 1
        assert [len(rows) for rows in batch] == [count * 3 * 2 for count in counts]


@pytest.mark.parametrize("world_size", [5, 7, 12])
def test_images_of_an_identity_are_parted_where_ranks_outnumber_identities(world_size: int) -> None:
    for batch in zip(*ranks(world_size), strict=True):
        sizes = [len(rows) for rows in batch]
        assert min(sizes) >= 2
        assert max(sizes) - min(sizes) <= 2
        for rows in batch:  # every rank has both modalities
            assert MODALITIES[rows].mean() == 0.5


def test_ranks_beyond_the_images_of_a_batch_have_none() -> None:
    sizes = [len(next(iter(drawn))) for drawn in ranks(15)]
    assert sorted(sizes) == [0] * 3 + [2] * 12


def test_ranks_agree_on_the_length() -> None:
    assert {len(drawn) for drawn in ranks(3)} == {5}
    lengths = [
        len(CrossModalityPKSampler(LABELS, MODALITIES, identities=4, images=3, rank=rank, world_size=2))
        for rank in range(2)
    ]
    assert lengths == [len(sampler(batches=None))] * 2


def test_ranks_share_batches_of_incomplete_identities() -> None:
    labels, modalities = [0, 0, 1, 1, 2, 3], [0, 1, 0, 1, 0, 1]
    drawn = [
        CrossModalityPKSampler(labels, modalities, identities=4, images=2, batches=9, rank=rank, world_size=2)
        for rank in range(2)
    ]
    for batch in zip(*drawn, strict=True):
        assert Counter(batch[0] + batch[1]) == dict.fromkeys(range(6), 2)
        assert [len({labels[row] for row in rows}) for rows in batch] == [2, 2]


@pytest.mark.parametrize("position", [0, 1, 7, 20])
def test_sampler_goes_on_where_another_one_was(position: int) -> None:
    first = sampler()
    first.set_epoch(3)
    batches = iter(first)
    before = [next(batches) for _ in range(position)]
    second = sampler()
    second.load_state_dict(first.state_dict())
    first.set_epoch(3)
    assert before + list(second) == list(first)


def test_loaded_position_is_of_one_epoch_only() -> None:
    drawn = sampler()
    drawn.load_state_dict({"epoch": 2, "position": 5})
    drawn.set_epoch(2)  # which a training loop that goes on says again
    assert len(list(drawn)) == 15
    assert len(list(drawn)) == 20
    drawn.load_state_dict({"epoch": 2, "position": 5})
    drawn.set_epoch(3)
    assert len(list(drawn)) == 20


def test_state_counts_the_batches_that_were_given() -> None:
    drawn = sampler()
    drawn.set_epoch(4)
    assert drawn.state_dict() == {"epoch": 4, "position": 0}
    for number, _ in enumerate(drawn, start=1):
        assert drawn.state_dict() == {"epoch": 4, "position": number}
    drawn.load_state_dict({"epoch": 4, "position": 18})
    assert drawn.state_dict() == {"epoch": 4, "position": 18}
    next(iter(drawn))
    assert drawn.state_dict() == {"epoch": 4, "position": 19}
    drawn.set_epoch(5)
    assert drawn.state_dict() == {"epoch": 5, "position": 0}


def test_ranks_go_on_together() -> None:
    states = []
    for drawn in ranks(3):
        batches = drawn.shares()
        next(batches)
        next(batches)
        states.append(drawn.state_dict())
    resumed = ranks(3)
    for drawn, state in zip(resumed, states, strict=True):
        drawn.load_state_dict(state)
    rest = [together(share) for share in zip(*(drawn.shares() for drawn in resumed), strict=True)]
    assert rest == list(sampler(batches=5))[2:]


@pytest.mark.parametrize("position", [-1, 21])
def test_position_beyond_the_epoch_is_refused(position: int) -> None:
    with pytest.raises(ValueError, match=f"position must be from 0 to the 20 batches of an epoch, but is {position}"):
        sampler().load_state_dict({"epoch": 0, "position": position})


@pytest.mark.parametrize("rank", [-1, 2])
def test_rank_beyond_the_processes_is_refused(rank: int) -> None:
    with pytest.raises(ValueError, match=f"rank must be from 0 to 1, but is {rank}"):
        CrossModalityPKSampler(LABELS, MODALITIES, rank=rank, world_size=2)


def test_world_size_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="world_size must be at least 1, but is 0"):
        CrossModalityPKSampler(LABELS, MODALITIES, world_size=0)
