import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from errno import ENOSPC
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from reid.data import image_cache
from reid.data.image_cache import load_cached_images
from reid.data.images import ImageError, decode_images, load_images

SIZE = (6, 4)
EXAMPLES = Path(image_cache.__file__).parents[2]


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Five images of different sizes and modes."""
    generator = np.random.default_rng(0)
    files = [tmp_path / f"{number}.png" for number in range(5)]
    for number, file in enumerate(files):
        shape = (6 + number, 4 + number) if number == 3 else (6 + number, 4 + number, 3)
        Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(file)
    return files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "some" / "cache"


def load(paths: list[Path], folder: Path, size: tuple[int, int] = SIZE) -> torch.Tensor:
    return load_cached_images(paths, size, folder, progress=False)


def was_rebuilt(paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int] = SIZE) -> bool:
    with monkeypatch.context() as patch:
        decode = Mock(side_effect=decode_images)
        patch.setattr(image_cache, "decode_images", decode)
        images = load(paths, folder, size)
    assert torch.equal(images, load_images(paths, size, progress=False))
    return decode.called


def test_cached_images_are_those_of_the_files_first_and_later(paths: list[Path], folder: Path) -> None:
    expected = load_images(paths, SIZE, progress=False)
    for _ in range(2):
        images = load(paths, folder)
        assert images.dtype == torch.uint8
        assert torch.equal(images, expected)


def test_second_start_decodes_nothing(paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert was_rebuilt(paths, folder, monkeypatch)
    assert not was_rebuilt(paths, folder, monkeypatch)


def test_cache_is_one_file_of_the_size_of_the_images(paths: list[Path], folder: Path) -> None:
    load(paths, folder)
    (file,) = folder.iterdir()
    assert 0 < file.stat().st_size - 5 * 3 * 6 * 4 < 100


def test_images_are_mapped_and_not_read(paths: list[Path], folder: Path) -> None:
    images = load(paths, folder)
    (file,) = folder.iterdir()
    with file.open("r+b") as opened:
        opened.write(b"\x07")  # a page that nobody wrote to is the file's
    assert images[0, 0, 0, 0].item() == 7


def test_writing_into_the_images_leaves_the_file_alone(paths: list[Path], folder: Path) -> None:
    expected = load_images(paths, SIZE, progress=False)
    load(paths, folder).zero_()
    assert torch.equal(load(paths, folder), expected)


def test_another_size_has_a_cache_of_its_own(paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(paths, folder)
    assert was_rebuilt(paths, folder, monkeypatch, size=(4, 6))
    assert not was_rebuilt(paths, folder, monkeypatch)
    assert len(list(folder.iterdir())) == 2


def test_another_order_has_a_cache_of_its_own(paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(paths, folder)
    assert was_rebuilt(paths[::-1], folder, monkeypatch)
    assert not was_rebuilt(paths, folder, monkeypatch)


def test_image_that_was_replaced_makes_the_cache_stale(
    paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(paths, folder)
    Image.fromarray(np.zeros((9, 9, 3), dtype=np.uint8)).save(paths[2])
    assert was_rebuilt(paths, folder, monkeypatch)
    assert len(list(folder.iterdir())) == 1
    assert not was_rebuilt(paths, folder, monkeypatch)


def test_time_of_an_image_makes_the_cache_stale(
    paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(paths, folder)
    os.utime(paths[0], ns=(1, 1))
    assert was_rebuilt(paths, folder, monkeypatch)


@pytest.mark.parametrize(("name", "value"), [("_VERSION", 0), ("RESAMPLING", Image.Resampling.NEAREST)])
def test_settings_of_the_cache_make_it_stale(
    paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(image_cache, name, value)
        load(paths, folder)
    assert was_rebuilt(paths, folder, monkeypatch)


def test_another_decoder_makes_the_cache_stale(
    paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("PIL.__version__", "0.0")
        load(paths, folder)
    assert was_rebuilt(paths, folder, monkeypatch)


@pytest.mark.parametrize("length", [0, 1, 200, 371])
def test_cache_that_is_cut_off_is_rebuilt(
    paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    load(paths, folder)
    (file,) = folder.iterdir()
    os.truncate(file, length)
    assert was_rebuilt(paths, folder, monkeypatch)


def test_missing_and_damaged_images_are_all_named_and_leave_no_cache(paths: list[Path], folder: Path) -> None:
    paths[1].write_bytes(b"nothing")
    paths[3].unlink()
    with pytest.raises(ImageError) as caught:
        load(paths, folder)
    assert [failure.path for failure in caught.value.failures] == [paths[1], paths[3]]
    assert list(folder.iterdir()) == []


def test_image_that_is_deleted_later_is_missed_all_the_same(paths: list[Path], folder: Path) -> None:
    load(paths, folder)
    paths[4].unlink()
    with pytest.raises(ImageError, match=r"4\.png \(missing\)"):
        load(paths, folder)


def test_too_small_a_disk_is_told_before_an_image_is_read(
    paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000, 641, 359))
    with pytest.raises(OSError, match=r"^The image cache needs 0\.00 GB in .*cache, but 0\.00 GB are free: make room"):
        load(paths, folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000, 640, 360))
    load(paths, folder)


def test_disk_that_fills_up_is_told_in_one_sentence_and_leaves_nothing(
    paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(_: int) -> None:
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(OSError, match=r"could not be written \(No space left on device\)"):
        load(paths, folder)
    assert list(folder.iterdir()) == []


def test_interrupt_leaves_nothing(paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", sync)
        with pytest.raises(KeyboardInterrupt):
            load(paths, folder)
    assert list(folder.iterdir()) == []


# A process that makes the cache, and stops for a long time when half of it is written.
STOPPING = """
import sys, time
from pathlib import Path
from reid.data import image_cache
decode = image_cache.decode_images
def slowly(paths, *args, **options):
    for number, image in enumerate(decode(paths, *args, **options)):
        if number == len(paths) // 2:
            print("half", flush=True)
            time.sleep(60)
        yield image
if sys.argv[2] == "stop":
    image_cache.decode_images = slowly
paths = [Path(name) for name in sys.argv[3:]]
images = image_cache.load_cached_images(paths, (300, 200), Path(sys.argv[1]), progress=False)
print(int(images.long().sum()))
"""


def start(paths: list[Path], folder: Path, stop: bool) -> "subprocess.Popen[str]":
    path = os.pathsep.join([str(EXAMPLES), str(EXAMPLES.parent / "src")])
    command = [sys.executable, "-c", STOPPING, str(folder), "stop" if stop else "go", *map(str, paths)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})


@pytest.mark.slow
def test_killed_process_leaves_no_cache_but_one_that_is_rebuilt(
    paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (300, 200)  # larger than the buffers of the file
    with start(paths, folder, stop=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    (left,) = folder.iterdir()
    assert left.suffix == ".partial"
    assert left.stat().st_size > 0
    assert was_rebuilt(paths, folder, monkeypatch, size)
    assert not was_rebuilt(paths, folder, monkeypatch, size)
    assert left.exists()  # it might be of a process that goes on
    os.utime(left, (time.time() - 7200, time.time() - 7200))
    (cache,) = folder.glob("*.cache")
    cache.unlink()
    load(paths, folder, size)
    assert list(folder.iterdir()) == [cache]


@pytest.mark.slow
def test_processes_that_make_the_same_cache_at_once_do_not_disturb_each_other(paths: list[Path], folder: Path) -> None:
    processes = [start(paths, folder, stop=False) for _ in range(2)]
    sums = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert sums == {f"{int(load_images(paths, (300, 200), progress=False).long().sum())}\n"}
    assert [file.suffix for file in folder.iterdir()] == [".cache"]


def test_no_paths_give_an_empty_tensor(folder: Path) -> None:
    assert load([], folder).shape == (0, 3, 6, 4)


def test_size_that_is_not_positive_is_refused(paths: list[Path], folder: Path) -> None:
    with pytest.raises(ValueError, match="size must be a positive"):
        load(paths, folder, size=(0, 4))
    assert not folder.exists()


def test_progress_bar_is_shown_on_request_alone(
    paths: list[Path], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load(paths, folder)
    assert capsys.readouterr().err == ""
    load_cached_images(paths, (4, 4), folder)
    assert "reading images" in capsys.readouterr().err
