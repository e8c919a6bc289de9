import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reid.data.images import ImageError, load_images


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
    assert str(error).startswith("5 image files cannot be read: ")
    assert str(error).endswith("; copy those that are missing or damaged from the data set again.")


def test_all_images_that_cannot_be_decoded_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        load_images(paths_of(tmp_path), (64, 32), progress=False)
    assert_all_named(caught.value, tmp_path)


def test_thousands_of_images_that_cannot_be_decoded_are_counted_and_the_first_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        load_images([tmp_path / f"{number:05d}.jpg" for number in range(3000)], (4, 2), progress=False)
    assert len(caught.value.failures) == 3000
    text = str(caught.value)
    assert text.startswith("3,000 image files cannot be read: ")
    assert f"{tmp_path / '00007.jpg'} (missing) and 2,992 more; copy" in text
    assert len(text) < 1500


RAMP = np.linspace(7000, 12000, 8).reshape(4, 2)  # what a thermal camera counts


@pytest.mark.parametrize(
    ("name", "pixels", "mode"),
    [
        ("a.png", RAMP.astype(np.uint16), "I;16"),
        ("a.tiff", RAMP.astype(np.uint16), "I;16"),
        ("a.tiff", RAMP.astype(">u2"), "I;16B"),
        ("a.tiff", RAMP.astype(np.int32), "I"),
        ("a.tiff", RAMP.astype(np.float32), "F"),
    ],
)
def test_gray_images_of_more_than_8_bits_are_refused(tmp_path: Path, name: str, pixels: np.ndarray, mode: str) -> None:
    Image.fromarray(pixels).save(tmp_path / name)
    with pytest.raises(
        ImageError, match=rf"{name} \(more than 8 bits a pixel, mode {mode}: scale its values to 0 … 255"
    ):
        load_images([tmp_path / name], (4, 2), progress=False)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_exif_orientation_says(tmp_path: Path, orientation: int) -> None:
    upright = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    # What a camera stores for each number of the standard, so that the viewer sees the image upright.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(load_images([tmp_path / "a.png"], (4, 6), progress=False)[0, 0].numpy(), upright)


def test_other_kinds_of_pixels_become_the_colors_that_they_stand_for(tmp_path: Path) -> None:
    red = Image.new("RGB", (2, 4), (255, 0, 0))
    red.save(tmp_path / "rgb.png")
    red.quantize(4).save(tmp_path / "palette.png")
    red.convert("RGBA").save(tmp_path / "alpha.png")
    red.convert("CMYK").save(tmp_path / "cmyk.tiff")
    red.save(tmp_path / "animated.png", save_all=True, append_images=[Image.new("RGB", (2, 4), (0, 0, 255))])
    for path in sorted(tmp_path.iterdir()):
        loaded = load_images([path], (4, 2), progress=False)[0]
        assert loaded[:, 0, 0].tolist() == [255, 0, 0], path.name
        assert loaded[:, 3, 1].tolist() == [255, 0, 0], path.name


def test_images_of_one_bit_are_black_and_white(tmp_path: Path) -> None:
    pixels = np.eye(4, dtype=bool)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(load_images([tmp_path / "a.png"], (4, 4), progress=False)[0, 2].numpy(), pixels * 255)


def test_color_images_of_16_bits_keep_the_upper_eight(tmp_path: Path) -> None:
    # Pillow writes none, so this is a PNG by hand: one pixel of 0x1234, 0x5678, 0x9abc.
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head, body = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0), zlib.compress(b"\0\x12\x34\x56\x78\x9a\xbc")
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    assert load_images([tmp_path / "a.png"], (1, 1), progress=False).flatten().tolist() == [0x12, 0x56, 0x9A]


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
