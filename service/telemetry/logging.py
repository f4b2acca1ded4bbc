"""Logs for machines (JSON, one object a line) or for people."""

import json
import logging
from datetime import UTC, datetime
from typing import Literal

# What every LogRecord has; whatever else a record carries came in through `extra`.
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class JsonFormatter(logging.Formatter):
    """A record and its `extra` fields as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, newlines escaped, so that a hostile header cannot forge a second one."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        } | extra_fields(record)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class TextFormatter(logging.Formatter):
    """A record and its `extra` fields for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level and message, then the fields as key=value."""
        fields = "".join(f" {key}={value!r}" for key, value in extra_fields(record).items())
        return super().format(record) + fields


def extra_fields(record: logging.LogRecord) -> dict[str, object]:
    """The fields that were given with `extra`."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def configure_logging(log_format: Literal["json", "text"]) -> None:
    """Sends all logs of the process to stderr in one format."""
    handler = logging.StreamHandler()
    text = TextFormatter("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(JsonFormatter() if log_format == "json" else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
