import math
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.data.transforms import Augmentation, augment, normalize

OFF = Augmentation(padding=0, flip=0.0, gray=0.0, erase=0.0)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HEIGHT, WIDTH = 10, 6


def batch(count: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)


def alternating(count: int) -> Tensor:
    return torch.arange(count) % 2


def run(images: Tensor, options: Augmentation, modalities: Tensor | None = None, seed: int = 0) -> Tensor:
    chosen = alternating(len(images)) if modalities is None else modalities
    return augment(images, chosen, options, torch.Generator().manual_seed(seed))


def crops(image: Tensor, padding: int) -> list[Tensor]:
    """Every window of the padded image, by plain indexing."""
    padded = torch.zeros((3, HEIGHT + 2 * padding, WIDTH + 2 * padding), dtype=torch.uint8)
    padded[:, padding : padding + HEIGHT, padding : padding + WIDTH] = image
    places = range(2 * padding + 1)
    return [padded[:, top : top + HEIGHT, left : left + WIDTH] for top in places for left in places]


def test_normalize_scales_every_pixel_by_the_statistics_of_imagenet() -> None:
    images = batch(2)
    normalized = normalize(images)
    assert normalized.dtype == torch.float32
    for row, channel, y, x in [(0, 0, 0, 0), (0, 1, 3, 5), (1, 2, 9, 2)]:
        expected = (images[row, channel, y, x].item() / 255 - MEAN[channel]) / STD[channel]
        assert normalized[row, channel, y, x].item() == pytest.approx(expected, abs=1e-6)


def test_augmentation_that_is_off_only_normalizes() -> None:
    assert torch.equal(run(batch(), OFF), normalize(batch()))


def test_images_are_not_changed_in_place() -> None:
    images = batch()
    run(images, Augmentation(erase=1.0, gray=1.0))
    assert torch.equal(images, batch())


def test_crop_is_a_window_of_the_padded_image() -> None:
    images = batch(40)
    augmented = run(images, OFF._replace(padding=2))
    for image, result in zip(images, augmented, strict=True):
        assert any(torch.equal(result, normalize(crop[None])[0]) for crop in crops(image, 2))


def test_crop_reaches_every_place() -> None:
    images = batch(1).expand(400, -1, -1, -1)
    augmented = run(images, OFF._replace(padding=1))
    for crop in crops(images[0], 1):
        assert (augmented == normalize(crop[None])).all(dim=(1, 2, 3)).any()


def test_flip_mirrors_the_columns() -> None:
    assert torch.equal(run(batch(), OFF._replace(flip=1.0)), normalize(batch()).flip(3))


def test_flip_happens_as_often_as_asked() -> None:
    images = batch(1).expand(4000, -1, -1, -1)
    flipped = (run(images, OFF._replace(flip=0.3)) == normalize(images).flip(3)).all(dim=(1, 2, 3))
    assert flipped.float().mean().item() == pytest.approx(0.3, abs=0.03)  # four standard errors


def test_gray_takes_the_luma_of_visible_images() -> None:
    images = batch(1)
    red, green, blue = images[0].double() / 255
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    augmented = run(images, OFF._replace(gray=1.0), torch.tensor([0]))
    for channel in range(3):
        expected = (luma - MEAN[channel]) / STD[channel]
        torch.testing.assert_close(augmented[0, channel].double(), expected, rtol=0, atol=1e-5)


def test_gray_leaves_infrared_images_alone() -> None:
    augmented = run(batch(), OFF._replace(gray=1.0), torch.ones(6, dtype=torch.long))
    assert torch.equal(augmented, normalize(batch()))


def test_gray_happens_as_often_as_asked() -> None:
    images = batch(1).expand(4000, -1, -1, -1)
    augmented = run(images, OFF._replace(gray=0.25), torch.zeros(4000, dtype=torch.long))
    grayed = (augmented != normalize(images)).any(dim=(1, 2, 3))
    assert grayed.float().mean().item() == pytest.approx(0.25, abs=0.03)  # four standard errors


def erased_boxes(options: Augmentation, count: int, height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Top, left, height and width of what was erased in images that have no pixel of the mean color."""
    images = torch.zeros((count, 3, height, width), dtype=torch.uint8)
    augmented = run(images, options, torch.zeros(count, dtype=torch.long))
    boxes = []
    for erased in (augmented == 0).all(dim=1):
        rows, columns = erased.any(1).nonzero()[:, 0].tolist(), erased.any(0).nonzero()[:, 0].tolist()
        box = (rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
        assert int(erased.sum()) == box[2] * box[3]  # the box is full
        boxes.append(box)
    return boxes


def test_erased_pixels_fill_one_rectangle_of_the_area_asked_for() -> None:
    options = OFF._replace(erase=1.0, erase_area=(0.1, 0.2), erase_ratio=(0.8, 1.25))
    areas = [rows * columns / (64 * 64) for _, _, rows, columns in erased_boxes(options, 300, 64, 64)]
    assert 0.08 < min(areas) < 0.11  # sides are whole pixels
    assert 0.19 < max(areas) < 0.22


def test_erased_rectangles_have_the_ratio_asked_for() -> None:
    options = OFF._replace(erase=1.0, erase_area=(0.05, 0.05), erase_ratio=(0.25, 4.0))
    ratios = [rows / columns for _, _, rows, columns in erased_boxes(options, 400, 120, 120)]
    assert min(ratios) == pytest.approx(0.25, rel=0.06)
    assert max(ratios) == pytest.approx(4.0, rel=0.06)
    # Tall and wide rectangles are equally likely.
    assert sum(math.log(ratio) for ratio in ratios) / 400 == pytest.approx(0.0, abs=0.16)


def test_erased_rectangles_reach_every_border() -> None:
    options = OFF._replace(erase=1.0, erase_area=(0.1, 0.3))
    boxes = erased_boxes(options, 400, 12, 8)
    assert min(top for top, _, _, _ in boxes) == 0
    assert min(left for _, left, _, _ in boxes) == 0
    assert max(top + rows for top, _, rows, _ in boxes) == 12
    assert max(left + columns for _, left, _, columns in boxes) == 8


def test_erasing_happens_as_often_as_asked() -> None:
    images = torch.zeros((4000, 3, 8, 4), dtype=torch.uint8)
    augmented = run(images, OFF._replace(erase=0.4))
    erased = (augmented == 0).any(dim=1).any(dim=(1, 2))
    assert erased.float().mean().item() == pytest.approx(0.4, abs=0.035)  # four standard errors


def test_same_generator_state_gives_the_same_batch() -> None:
    assert torch.equal(run(batch(), Augmentation(), seed=4), run(batch(), Augmentation(), seed=4))


def test_another_seed_gives_another_batch() -> None:
    assert not torch.equal(run(batch(), Augmentation(), seed=4), run(batch(), Augmentation(), seed=5))


def test_generator_moves_on_between_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (augment(batch(), alternating(6), Augmentation(), generator) for _ in range(2))
    assert not torch.equal(first, second)


def test_global_random_state_is_not_touched() -> None:
    state = torch.get_rng_state()
    run(batch(), Augmentation())
    assert torch.equal(torch.get_rng_state(), state)


def test_random_numbers_drawn_do_not_depend_on_the_options() -> None:
    states = []
    for options in (OFF, Augmentation(), Augmentation(padding=4, erase=1.0)):
        generator = torch.Generator().manual_seed(0)
        augment(batch(), alternating(6), options, generator)
        states.append(generator.get_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


def test_augmentation_keeps_the_order_of_the_rows() -> None:
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, HEIGHT, WIDTH)
    assert torch.equal(run(images, OFF._replace(flip=0.5, gray=0.0)), normalize(images))


def test_an_empty_batch_stays_empty() -> None:
    assert run(batch(0), Augmentation()).shape == (0, 3, HEIGHT, WIDTH)


@pytest.mark.parametrize("images", [batch().float(), batch()[0], batch()[:, :1]])
def test_images_of_another_shape_or_type_are_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"images must be uint8 \(N, 3, H, W\), but are torch\."):
        normalize(images)
    with pytest.raises(ValueError, match=r"images must be uint8 \(N, 3, H, W\), but are torch\."):
        run(images, OFF)


def test_modalities_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"modalities must have shape \(6,\), but have \(5,\)"):
        run(batch(), OFF, alternating(5))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("flip", 1.5, "flip must be a probability, but is 1.5"),
        ("gray", -0.1, "gray must be a probability"),
        ("erase", float("nan"), "erase must be a probability, but is nan"),
        ("padding", -1, "padding must not be negative, but is -1"),
        ("erase_area", (0.4, 0.2), "erase_area must be two ascending shares"),
        ("erase_area", (0.0, 0.2), "erase_area must be two ascending shares"),
        ("erase_ratio", (0.0, 2.0), "erase_ratio two ascending positive numbers"),
    ],
)
def test_option_out_of_range_is_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(batch(), OFF._replace(**{name: value}))


@pytest.mark.parametrize("rows", [[0, 1, 5], [4], [5, 2], [], slice(2, 5), slice(None, None, 2)])
def test_rows_are_altered_as_in_the_whole_batch(rows: list[int] | slice) -> None:
    images, modalities = batch(), alternating(6)
    options = Augmentation(gray=0.3, exchange=0.3, adaptive_gray=0.3)
    whole = run(images, options)
    generator = torch.Generator().manual_seed(0)
    part = augment(images[rows], modalities[rows], options, generator, rows=rows, total=6)
    assert torch.equal(part, whole[rows])


def test_generator_moves_on_as_far_for_some_rows_as_for_all() -> None:
    some, all_ = (torch.Generator().manual_seed(0) for _ in range(2))
    augment(batch(2), alternating(2), Augmentation(), some, rows=[3, 4], total=6)
    augment(batch(6), alternating(6), Augmentation(), all_)
    assert torch.equal(some.get_state(), all_.get_state())


@pytest.mark.parametrize(
    ("rows", "total"), [([0, 1, 2], 6), ([0], 6), (slice(0, 3), 6), ([0, 1], None), (None, 6), ([], 6)]
)
def test_rows_that_do_not_place_every_image_are_refused(rows: list[int] | slice | None, total: int | None) -> None:
    with pytest.raises(ValueError, match="rows and total must say where each of the 2 images stands in the batch"):
        augment(batch(2), alternating(2), OFF, torch.Generator(), rows=rows, total=total)


def test_default_alterations_are_those_that_the_documented_results_were_made_with() -> None:
    generator = torch.Generator().manual_seed(3)
    images = (torch.arange(2 * 3 * 6 * 4).view(2, 3, 6, 4) % 251).to(torch.uint8)
    for _ in range(2):
        augmented = augment(images, torch.tensor([0, 1]), Augmentation(), generator)
    expected = [[-40.281708, -38.332630, -33.273376], [-32.951454, -25.537811, -15.071369]]
    torch.testing.assert_close(augmented.sum(dim=(2, 3)), torch.tensor(expected), rtol=0, atol=1e-4)


def grays(image: Tensor) -> dict[str, Tensor]:
    """The four gray versions of an image, normalized, by plain arithmetic."""
    pixels = image.double() / 255
    tones = {"red": pixels[0], "green": pixels[1], "blue": pixels[2]}
    tones["luma"] = 0.299 * pixels[0] + 0.587 * pixels[1] + 0.114 * pixels[2]
    return {
        name: torch.stack([(tone - mean) / std for mean, std in zip(MEAN, STD, strict=True)])
        for name, tone in tones.items()
    }


def shares(options: Augmentation, *, modality: int = 0, count: int = 6000) -> dict[str, float]:
    """Augment one image many times; how often it became which gray version."""
    images = batch(1).expand(count, -1, -1, -1)
    augmented = run(images, options, torch.full((count,), modality))
    versions = {**grays(images[0]), "colors": normalize(images[:1])[0].double()}
    found = {
        name: ((augmented - version).abs() < 1e-5).all(dim=3).all(dim=2).all(dim=1).double().mean().item()
        for name, version in versions.items()
    }
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-9)
    return found


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"exchange": 0.6}, {"red": 0.2, "green": 0.2, "blue": 0.2, "luma": 0.0, "colors": 0.4}),
        ({"exchange": 1.0}, {"red": 1 / 3, "green": 1 / 3, "blue": 1 / 3, "luma": 0.0, "colors": 0.0}),
        ({"adaptive_gray": 0.8}, {"red": 0.2, "green": 0.2, "blue": 0.2, "luma": 0.2, "colors": 0.2}),
        (
            {"gray": 0.1, "exchange": 0.3, "adaptive_gray": 0.4},
            {"red": 0.2, "green": 0.2, "blue": 0.2, "luma": 0.2, "colors": 0.2},
        ),
    ],
)
def test_colors_are_lost_in_each_way_as_often_as_asked(options: dict[str, Any], expected: dict[str, float]) -> None:
    assert shares(OFF._replace(**options)) == pytest.approx(expected, abs=0.025)  # four standard errors


def test_infrared_images_lose_no_channel() -> None:
    assert shares(OFF._replace(exchange=0.5, adaptive_gray=0.5), modality=1, count=200)["colors"] == 1.0


def test_erased_channels_get_the_values_asked_for() -> None:
    value = (0.25, -1.5, 3.0)
    images = torch.zeros((50, 3, 20, 10), dtype=torch.uint8)
    augmented = run(images, OFF._replace(erase=1.0, erase_value=value))
    background = normalize(images[:1, :, :1, :1])[0]
    for image in augmented:
        erased = image[0] == 0.25
        assert erased.any()
        for channel in range(3):
            assert torch.equal(image[channel][erased], torch.full((int(erased.sum()),), value[channel]))
            assert (image[channel][~erased] == background[channel]).all()


def test_grays_that_add_up_to_more_than_one_are_refused() -> None:
    with pytest.raises(ValueError, match="gray, exchange and adaptive_gray must add up to 1 at most"):
        run(batch(), Augmentation(gray=0.5, exchange=0.3, adaptive_gray=0.3))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("exchange", -0.1, "exchange must be a probability, but is -0.1"),
        ("adaptive_gray", math.nan, "adaptive_gray must be a probability, but is nan"),
        ("erase_value", (0.0, math.inf, 0.0), "erase_value must be three finite numbers"),
        ("erase_value", (0.0, 0.0), "erase_value must be three finite numbers"),
    ],
)
def test_option_of_channels_out_of_range_is_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(batch(), OFF._replace(**{name: value}))
