from pathlib import Path

import pytest
import torch
from PIL import Image

from training.errors import NoRunError
from training.measure.pictures import ContactSheets, plot_losses

HEADER = "photos_seen,loss,validation_loss,minutes\n"


def test_sheets_stay_small_whatever_they_show(tmp_path: Path) -> None:
    sheets = ContactSheets(tmp_path / "new", ["grey", "mobilenet_v2 1.0.0+9e8a3766f934", "truth"])
    generator = torch.Generator().manual_seed(0)
    for _ in range(12):
        noise = torch.randint(0, 256, (3, 224, 224), dtype=torch.uint8, generator=generator)
        sheets.add(dict.fromkeys(("grey", "mobilenet_v2 1.0.0+9e8a3766f934", "truth", "no column"), noise))
    sheets.finish()
    files = sorted((tmp_path / "new").iterdir())
    assert [file.name for file in files] == ["sheet-01.jpg", "sheet-02.jpg"]
    assert max(file.stat().st_size for file in files) <= 250_000
    with Image.open(files[0]) as first, Image.open(files[1]) as second:
        assert first.width == second.width == 3 * 144
        assert first.height - second.height == 8 * 144


def test_columns_are_in_order(tmp_path: Path) -> None:
    sheets = ContactSheets(tmp_path, ["grey", "truth"])
    blue = torch.tensor([0, 0, 255], dtype=torch.uint8).view(3, 1, 1).expand(3, 224, 224)
    sheets.add({"truth": blue, "grey": torch.full((3, 224, 224), 90, dtype=torch.uint8)})
    sheets.finish()
    with Image.open(tmp_path / "sheet-01.jpg") as sheet:
        left, right = (sheet.getpixel((x, sheet.height - 72)) for x in (72, 216))
    assert left == pytest.approx((90, 90, 90), abs=4)
    assert right == pytest.approx((0, 0, 255), abs=4)


def test_the_middle_of_a_photograph_is_shown_undistorted(tmp_path: Path) -> None:
    sheets = ContactSheets(tmp_path, ["truth"], 100)
    ramp = torch.arange(240, dtype=torch.uint8).expand(3, 100, 240).contiguous()
    sheets.add({"truth": ramp}, "night")
    sheets.finish()
    with Image.open(tmp_path / "night-01.jpg") as sheet:
        line = [sheet.convert("L").getpixel((x, sheet.height - 50)) for x in range(100)]
    assert line == pytest.approx(list(range(70, 170)), abs=3)


def test_loss_curves_of_every_run(tmp_path: Path) -> None:
    for name, validated in (("a/mobilenet_v2", "0.02"), ("b/mobilenet_v2", "")):
        (tmp_path / name).mkdir(parents=True)
        rows = f"16,0.05,,1\n32,0.03,{validated},2\n"
        (tmp_path / name / "log.csv").write_text(HEADER + rows)
    plot_losses(tmp_path, tmp_path / "pictures" / "loss.png")
    with Image.open(tmp_path / "pictures" / "loss.png") as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(2**20) or []) > 10


def test_a_folder_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoRunError, match=tmp_path.name):
        plot_losses(tmp_path, tmp_path / "loss.png")


@pytest.mark.parametrize("text", ["photos_seen\n1\n", HEADER + "16,low,,1\n", HEADER + "16\n"])
def test_a_log_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(NoRunError, match=r"log\.csv"):
        plot_losses(tmp_path, tmp_path / "loss.png")
