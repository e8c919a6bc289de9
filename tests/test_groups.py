"""Who belongs together, and the converters from the field's layouts."""

import numpy as np
import pytest
import torch

from modinv import batch_from_streams, groups, modalities_from_blocks, modalities_from_cameras


def test_rows_are_compared_pair_by_pair() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(-2, 3, (11,), generator=generator)
    modalities = torch.randint(3, (11,), generator=generator)
    for i in range(11):
        assert groups.membership(modalities, 3)[i].tolist() == [modalities[i] == m for m in range(3)]
        for j in range(11):
            assert groups.same_identity(labels)[i, j] == (labels[i] == labels[j])
            assert groups.same_modality(modalities)[i, j] == (modalities[i] == modalities[j])


def test_row_of_unknown_modality_belongs_to_none() -> None:
    assert not groups.membership(torch.tensor([2]), 2).any()


def test_cells_are_placed_where_labels_can_be_read() -> None:
    labels, modalities = torch.tensor([7, -2, 7, 7, -2, 2**62]), torch.tensor([0, 1, 1, 0, 1, 1])
    places = groups.places_of(labels, modalities)
    assert places is not None
    assert sorted(places.first.tolist()) == [0, 1, 2, 5]
    assert places.first[places.groups].tolist() == [0, 1, 2, 0, 1, 5]
    assert groups.places_of(labels.to("meta"), modalities.to("meta")) is None


def test_streams_are_joined_in_order() -> None:
    visible, infrared = torch.rand(3, 4), torch.rand(2, 4)
    batch = batch_from_streams((visible, torch.tensor([5, 5, 6])), (infrared, torch.tensor([6, 5])))
    assert torch.equal(batch.features, torch.cat([visible, infrared]))
    assert batch.labels.tolist() == [5, 5, 6, 6, 5]
    assert batch.modalities.tolist() == [0, 0, 0, 1, 1]


def test_stream_may_be_empty() -> None:
    batch = batch_from_streams((torch.rand(2, 4), torch.tensor([1, 2])), (torch.rand(0, 4), torch.tensor([]).long()))
    assert batch.modalities.tolist() == [0, 0]


def test_stream_with_too_few_labels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"stream 1 has features \(2, 4\) and labels \(1,\)"):
        batch_from_streams((torch.rand(1, 4), torch.tensor([1])), (torch.rand(2, 4), torch.tensor([1])))


def test_no_stream_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        batch_from_streams()


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ("vi", [0, 0, 0, 1, 1, 1]),
        ("vvi", [0, 0, 0, 0, 1, 1]),
        ("iv", [1, 1, 1, 0, 0, 0]),
        ("vivivi", [0, 1, 0, 1, 0, 1]),
    ],
)
def test_blocks_name_the_modalities_in_order(blocks: str, expected: list[int]) -> None:
    assert modalities_from_blocks(blocks, 6).tolist() == expected


@pytest.mark.parametrize(("blocks", "num_rows"), [("vi", 5), ("", 4), ("vx", 4)])
def test_impossible_blocks_are_refused(blocks: str, num_rows: int) -> None:
    with pytest.raises(ValueError, match=r"blocks"):
        modalities_from_blocks(blocks, num_rows)


def test_unequal_blocks_are_refused_with_what_to_do_instead() -> None:
    with pytest.raises(ValueError, match=r"join torch\.full_like\(labels, number\) of each, or .* batch_from_streams"):
        modalities_from_blocks("vi", 7)


def test_rows_that_are_no_count_are_refused() -> None:
    with pytest.raises(ValueError, match="num_rows must be at least 0, got -2"):
        modalities_from_blocks("vi", -2)


def test_rows_may_be_counted_by_numpy() -> None:
    assert modalities_from_blocks("vi", np.int64(4)).tolist() == [0, 0, 1, 1]


def test_cameras_3_and_6_are_infrared_by_default() -> None:
    assert modalities_from_cameras(torch.tensor([1, 2, 3, 4, 5, 6])).tolist() == [0, 0, 1, 0, 0, 1]


def test_other_infrared_cameras_can_be_named() -> None:
    assert modalities_from_cameras(torch.tensor([1, 2, 3]), infrared=(2,)).tolist() == [0, 1, 0]


def test_infrared_cameras_may_come_in_any_collection() -> None:
    for infrared in ([2], {2}, np.array([2]), torch.tensor([2])):
        assert modalities_from_cameras(torch.tensor([1, 2, 3]), infrared).tolist() == [0, 1, 0]


def test_camera_0_is_refused_with_the_numbers_of_sysu_which_count_from_1() -> None:
    with pytest.raises(ValueError, match=r"cameras must count from 1 .* got camera 0: .* give infrared=\(2, 5\)"):
        modalities_from_cameras(torch.tensor([0, 2]))


def test_camera_0_is_a_camera_where_others_are_infrared() -> None:
    assert modalities_from_cameras(torch.tensor([0, 2, 5]), infrared=(2, 5)).tolist() == [0, 1, 1]


def test_cameras_on_a_device_are_not_read() -> None:
    assert modalities_from_cameras(torch.zeros(3, dtype=torch.long, device="meta")).shape == (3,)


def test_streams_of_unequal_width_are_refused_before_they_are_joined() -> None:
    streams = [(torch.rand(2, width), torch.tensor([1, 2])) for width in (4, 5)]
    with pytest.raises(ValueError, match=r"rows of one shape, got \(4,\) in stream 0 and \(5,\) in stream 1"):
        batch_from_streams(*streams)


def test_two_tensors_in_place_of_two_pairs_are_refused() -> None:
    with pytest.raises(TypeError, match=r"stream 0 must be a pair \(features, labels\), got torch.float32"):
        batch_from_streams(torch.rand(2, 2), torch.rand(2, 2))  # type: ignore[arg-type]


def test_streams_on_two_devices_are_refused() -> None:
    here, there = (torch.rand(1, 4), torch.tensor([1])), (torch.rand(1, 4, device="meta"), torch.tensor([1]))
    with pytest.raises(ValueError, match="all streams must be on one device"):
        batch_from_streams(here, there)
