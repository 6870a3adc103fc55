"""Logs of runs as JSON: one object per line, with the run, the asset and the partition.

`python_logs` in a dagster.yaml names the formatter, as in `deploy/dagster.yaml`.
"""

import logging
from datetime import UTC, datetime
from typing import Any

from jgpt_dagster.literal_text import json_line
from jgpt_dagster.orchestration.run_facts import partition_of


class JsonFormatter(logging.Formatter):
    """Formats log records of Dagster runs, and other records without the fields of a run."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON on one line, without unknown fields."""
        meta: dict[str, Any] = getattr(record, "dagster_meta", {})
        event = meta.get("dagster_event")
        error = getattr(event and event.event_specific_data, "error", None)
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "run": meta.get("run_id"),
            "asset": meta.get("op_name"),
            "partition": partition_of(meta.get("job_tags", {})),
            "event": event.event_type_value if event else None,
            "message": meta.get("orig_message") or record.getMessage(),
            "error": error.to_string() if error else self.formatException(record.exc_info) if record.exc_info else None,
        }
        known = {name: value for name, value in fields.items() if value}
        return json_line(known)
