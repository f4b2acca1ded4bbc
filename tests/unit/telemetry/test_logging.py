import json
import logging

import pytest

from service.telemetry.logging import JsonFormatter, TextFormatter, configure_logging


def record(message: str, **extra: object) -> logging.LogRecord:
    logger = logging.getLogger("test")
    return logger.makeRecord("test", logging.WARNING, __file__, 1, message, (), None, extra=extra)


def test_json_is_one_line_with_the_extra_fields() -> None:
    line = JsonFormatter().format(record("two\nlines", size=3, path="/a\nb"))
    assert "\n" not in line
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["message"]) == ("warning", "test", "two\nlines")
    assert (entry["size"], entry["path"]) == (3, "/a\nb")
    assert entry["time"].endswith("+00:00")


def test_json_carries_the_traceback() -> None:
    try:
        raise ValueError("why")
    except ValueError as error:
        failed = logging.LogRecord("test", logging.ERROR, __file__, 1, "failed", (), (ValueError, error, None))
    assert "ValueError: why" in json.loads(JsonFormatter().format(failed))["exception"]


def test_text_is_for_people() -> None:
    assert TextFormatter("%(levelname)s %(message)s").format(record("ready", size=3)) == "WARNING ready size=3"


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_the_whole_process_logs_in_one_format(
    log_format: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    configure_logging(log_format)  # type: ignore[arg-type]
    logging.getLogger("anything").info("hello")
    line = capsys.readouterr().err.strip()
    assert "hello" in line
    assert line.startswith("{") == (log_format == "json")
