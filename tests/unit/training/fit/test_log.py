import csv
from dataclasses import replace
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.fit.log import LOG_FILE, Entry, Log

ENTRY = Entry(minutes=1.5, photos_seen=100, loss=0.25, validation_loss=None, learning_rate=1e-3)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / LOG_FILE).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_entries_are_rows_and_tensorboard_events(tmp_path: Path) -> None:
    with Log(tmp_path, 0) as log:
        log.add(ENTRY)
        log.add(replace(ENTRY, photos_seen=200, validation_loss=0.5))
    assert rows(tmp_path) == [
        {"minutes": "1.5", "photos_seen": "100", "loss": "0.25", "validation_loss": "", "learning_rate": "0.001"},
        {"minutes": "1.5", "photos_seen": "200", "loss": "0.25", "validation_loss": "0.5", "learning_rate": "0.001"},
    ]
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(100, 0.25), (200, 0.25)]
    assert [(event.step, event.value) for event in events.Scalars("validation_loss")] == [(200, 0.5)]


def test_what_was_logged_after_the_checkpoint_is_dropped(tmp_path: Path) -> None:
    with Log(tmp_path, 0) as log:
        for photos_seen in (100, 200, 300):
            log.add(replace(ENTRY, photos_seen=photos_seen))
    with (tmp_path / LOG_FILE).open("a") as stream:
        stream.write("2.5,4")  # killed while it wrote 2.5,400,…
    with Log(tmp_path, 200) as log:
        log.add(replace(ENTRY, photos_seen=280))
    assert [row["photos_seen"] for row in rows(tmp_path)] == ["100", "200", "280"]
