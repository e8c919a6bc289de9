from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reid.data.dataset import load_dataset
from reid.data.images import ImageError
from reid.data.listing import HeldOutList, Listing
from reid.data_sets.layout import Entry, list_images
from reid.data_sets.regdb import regdb_trials

SIZE = (4, 2)
PARTS = {"train": (30, 10, 30), "test": (5, 7), "validation": (1,)}


@pytest.fixture
def listing(tmp_path: Path) -> Listing:
    """One visible and two infrared images of each identity; all pixels of an image are of one value, its number."""
    lists, value = {}, 0
    for part, identities in PARTS.items():
        entries = []
        for place, identity in enumerate(identities):
            for number, modality in enumerate((0, 1, 1)):
                path = tmp_path / f"{part}-{place}-{number}.png"
                Image.fromarray(np.full((8, 4, 3), value, dtype=np.uint8)).save(path)
                entries.append(Entry(path, identity, modality + 1, number, modality))
                value += 1
        lists[part] = list_images(entries)
    test, validation = (
        HeldOutList(images, regdb_trials(images.identities, images.modalities, direction="infrared-to-visible"))
        for images in (lists["test"], lists["validation"])
    )
    return Listing(lists["train"], test, validation)


def values(images: torch.Tensor) -> list[int]:
    assert torch.equal(images, images[:, :1, :1, :1].expand_as(images))
    return images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("cached", [False, True])
def test_every_part_has_its_images(listing: Listing, tmp_path: Path, cached: bool) -> None:
    for _ in range(2):
        data = load_dataset(listing, SIZE, cache=tmp_path / "cache" if cached else None, progress=False)
        assert data.train.images.shape == (9, 3, 4, 2)
        assert values(data.train.images) == list(range(9))
        assert values(data.test.images) == list(range(9, 15))
        assert data.validation is not None
        assert values(data.validation.images) == [15, 16, 17]
    assert (tmp_path / "cache").exists() == cached


def test_labels_count_the_training_identities_from_zero(listing: Listing) -> None:
    data = load_dataset(listing, SIZE, progress=False)
    assert data.train.labels.tolist() == [1, 1, 1, 0, 0, 0, 1, 1, 1]
    assert data.train.labels.dtype == torch.int64
    assert data.train.num_identities == 2


def test_modalities_are_those_of_the_images(listing: Listing) -> None:
    data = load_dataset(listing, SIZE, progress=False)
    assert data.train.modalities.tolist() == [0, 1, 1] * 3
    assert data.test.modalities.tolist() == [0, 1, 1] * 2
    assert data.test.modalities.dtype == torch.int64


def test_trials_are_passed_on(listing: Listing) -> None:
    data = load_dataset(listing, SIZE, progress=False)
    assert listing.validation is not None
    assert data.validation is not None
    assert data.test.trials is listing.test.trials
    assert data.validation.trials is listing.validation.trials


def test_validation_is_none_where_there_is_none(listing: Listing) -> None:
    assert load_dataset(listing._replace(validation=None), SIZE, progress=False).validation is None


@pytest.mark.parametrize("cached", [False, True])
def test_images_that_cannot_be_decoded_are_named_over_all_parts(listing: Listing, tmp_path: Path, cached: bool) -> None:
    assert listing.validation is not None
    files = [
        listing.train.paths[2],
        listing.train.paths[5],
        listing.test.images.paths[0],
        listing.validation.images.paths[1],
    ]
    for file in files[:-1]:
        file.write_bytes(b"nothing")
    files[-1].unlink()
    with pytest.raises(ImageError) as caught:
        load_dataset(listing, SIZE, cache=tmp_path / "cache" if cached else None, progress=False)
    assert [failure.path for failure in caught.value.failures] == files


def test_bars_are_shown_on_request_alone(listing: Listing, capsys: pytest.CaptureFixture[str]) -> None:
    load_dataset(listing, SIZE, progress=False)
    assert capsys.readouterr().err == ""
    load_dataset(listing, SIZE)
    assert "reading images" in capsys.readouterr().err
