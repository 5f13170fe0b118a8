"""A whole event file for TensorBoard in memory: texts and numbers of one step. Imports no torch."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping

from pytest_modelviz.text.printable import printable


def event_file(
    step: int, *, scalars: Mapping[str, float] | None = None, texts: Mapping[str, str] | None = None
) -> bytes:
    """The bytes of an event file.

    Args:
        step: the step of all that is in it.
        scalars: numbers by tag; TensorBoard draws NaN as a triangle.
        texts: Markdown by tag, in which all that is not ours has been made code.

    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.metadata import create_summary_metadata
    from tensorboard.summary.writer.record_writer import RecordWriter

    values = [Summary.Value(tag=printable(tag), simple_value=value) for tag, value in (scalars or {}).items()]
    for tag, text in (texts or {}).items():
        tensor = {"dtype": "DT_STRING", "string_val": [text.encode("utf-8", "replace")]}
        metadata = create_summary_metadata(display_name="", description="")
        values.append(Summary.Value(tag=printable(tag), tensor=tensor, metadata=metadata))
    now, file = time.time(), io.BytesIO()
    writer = RecordWriter(file)
    writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    writer.write(Event(wall_time=now, step=step, summary=Summary(value=values)).SerializeToString())
    return file.getvalue()
