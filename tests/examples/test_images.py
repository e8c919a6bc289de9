import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reid.data.images import ImageError, load_images, verify_images


def write(path: Path, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    image = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(image).save(path)
    return image


def test_images_of_the_right_size_keep_every_pixel(tmp_path: Path) -> None:
    image = write(tmp_path / "a.png", (6, 4, 3))
    loaded = load_images([tmp_path / "a.png"], (6, 4), progress=False)
    assert loaded.dtype == torch.uint8
    assert loaded.shape == (1, 3, 6, 4)
    for row in range(6):
        for column in range(4):
            assert loaded[0, :, row, column].tolist() == image[row, column].tolist()


def test_images_come_in_the_order_of_the_paths(tmp_path: Path) -> None:
    images = [write(tmp_path / f"{number}.png", (3, 2, 3), number) for number in range(20)]
    order = list(reversed(range(20)))
    loaded = load_images([tmp_path / f"{number}.png" for number in order], (3, 2), progress=False)
    assert np.array_equal(loaded.permute(0, 2, 3, 1).numpy(), np.stack([images[number] for number in order]))


def test_size_is_height_then_width(tmp_path: Path) -> None:
    write(tmp_path / "a.png", (40, 30, 3))
    assert load_images([tmp_path / "a.png"], (16, 8), progress=False).shape == (1, 3, 16, 8)


def test_halving_averages_neighboring_pixels(tmp_path: Path) -> None:
    # A bilinear filter that halves a constant-by-halves image leaves the far pixels of the halves untouched.
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    image[:, 4:] = 200
    Image.fromarray(image).save(tmp_path / "a.png")
    loaded = load_images([tmp_path / "a.png"], (4, 4), progress=False)
    assert loaded[0, 0, 0].tolist() == [0, 25, 175, 200]


def test_gray_images_get_three_equal_channels(tmp_path: Path) -> None:
    image = write(tmp_path / "a.png", (5, 3))
    loaded = load_images([tmp_path / "a.png"], (5, 3), progress=False)
    assert all(np.array_equal(loaded[0, channel].numpy(), image) for channel in range(3))


def test_no_paths_give_an_empty_tensor() -> None:
    assert load_images([], (4, 2), progress=False).shape == (0, 3, 4, 2)


def test_progress_bar_is_shown_on_request_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a.png", (4, 2, 3))
    load_images([tmp_path / "a.png"], (4, 2), progress=False)
    assert capsys.readouterr().err == ""
    load_images([tmp_path / "a.png"], (4, 2))
    assert "reading images" in capsys.readouterr().err


def damaged(folder: Path) -> dict[str, str]:
    """Write two whole images and four damaged ones; what is wrong with the latter, by their names."""
    for name in ("whole.jpg", "whole.png", "cut.jpg", "cut.png"):
        write(folder / name, (64, 32, 3))
    for name in ("cut.jpg", "cut.png"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) - len(content) // 4])
    (folder / "text.jpg").write_bytes(b"nothing")
    (folder / "empty.png").touch()
    return {
        "cut.jpg": "truncated",
        "cut.png": "",  # Pillow's words change
        "text.jpg": "no image",
        "empty.png": "no image",
        "missing.jpg": "missing",
    }


def paths_of(folder: Path) -> list[Path]:
    return [folder / name for name in ("whole.jpg", *damaged(folder), "whole.png")]


def assert_all_named(error: ImageError, folder: Path) -> None:
    expected = damaged(folder)
    assert {failure.path.name for failure in error.failures} == expected.keys()
    for name, reason in expected.items():
        assert f"{folder / name} (" in str(error)
        assert any(failure.path.name == name and reason in failure.reason for failure in error.failures)
    assert str(error).startswith("5 image files cannot be decoded, copy them from the data set again: ")


def test_all_images_that_cannot_be_decoded_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        load_images(paths_of(tmp_path), (64, 32), progress=False)
    assert_all_named(caught.value, tmp_path)


def test_verification_names_all_images_that_cannot_be_decoded(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        verify_images(paths_of(tmp_path), progress=False)
    assert_all_named(caught.value, tmp_path)


def test_verification_of_whole_images_passes_with_a_progress_bar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.png", (4, 2, 3))
    verify_images([tmp_path / "a.png"], progress=False)
    assert capsys.readouterr().err == ""
    verify_images([tmp_path / "a.png"])
    assert "checking images" in capsys.readouterr().err


def test_verification_decodes_the_whole_image(tmp_path: Path) -> None:
    # The header of an image that is cut off is in order: opening alone would not tell.
    write(tmp_path / "a.jpg", (64, 32, 3))
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[:-40])
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.size == (32, 64)
    with pytest.raises(ImageError, match="truncated"):
        verify_images([tmp_path / "a.jpg"], progress=False)


def test_error_travels_between_processes(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        load_images([tmp_path / "a.jpg"], (4, 2), progress=False)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert copy.failures == caught.value.failures
    assert str(copy) == str(caught.value)


@pytest.mark.parametrize("size", [(0, 4), (4, -1)])
def test_size_that_is_not_positive_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"size must be a positive \(height, width\)"):
        load_images([], size)
