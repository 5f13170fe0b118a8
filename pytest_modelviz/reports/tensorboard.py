"""Event files for TensorBoard, of one process of one run: exhibits and texts of its drifts."""

import contextlib
import re
from pathlib import Path
from typing import Any

import numpy as np

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.pictures.composite import Picture
from pytest_modelviz.pictures.exhibits import Curve, Exhibit, Graph, Histogram
from pytest_modelviz.pictures.files import png_bytes
from pytest_modelviz.reports.histogram_bins import on_common_bins
from pytest_modelviz.storage.names import safe
from pytest_modelviz.text.markdown import code
from pytest_modelviz.text.printable import printable, printable_lines

_CHANGED, _UNCHANGED = "/device:changed", "/device:unchanged"


class EventFiles:
    """One writer a folder. Every tag is written once: TensorBoard keeps few steps of an image.

    What is compared in one chart lies in folders of its own, one a series: TensorBoard lays runs over each other.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, Any] = {}
        self._writer = self._of("")

    def show(self, tag: str, exhibit: Exhibit, png: bytes | None = None) -> str:
        """Write an exhibit, a picture as the PNG file that was made of it; returns the tag it can be found under."""
        tag = printable(f"{tag}/{exhibit.label}")
        if isinstance(exhibit, Picture):
            self._picture(tag, exhibit, png_bytes(exhibit.image) if png is None else png)
        elif isinstance(exhibit, Curve):
            for series, values in exhibit.series.items():
                for step, value in enumerate(values):
                    self._of(safe(series)).add_scalar(tag, value, step)
        elif isinstance(exhibit, Histogram):
            self._histogram(tag, exhibit)
        else:
            self._graph(tag, exhibit)
        return tag

    def text(self, tag: str, text: str) -> None:
        """Write a text as it is: in Markdown's code block, so that names with signs stay what they are."""
        fence = "~" * max(4, 1 + max(map(len, re.findall("~+", text)), default=0))  # longer than any in the text
        self._writer.add_text(printable(tag), f"{fence}\n{printable_lines(text)}\n{fence}", 0)

    def close(self) -> None:
        """Write what is still waiting. Raises ModelvizError where that cannot be written."""
        try:
            with contextlib.ExitStack() as stack:
                for writer in self._writers.values():
                    stack.callback(writer.close)
        except OSError as error:  # of the thread that writes
            raise self._unwritable(self._folder, error) from error

    def _unwritable(self, folder: Path, error: OSError) -> ModelvizError:
        return ModelvizError(
            f"cannot write event files into {folder}: {error.strerror or error}; "
            f"make it writable or choose another folder with --modelviz-results-dir"
        )

    def _picture(self, tag: str, picture: Picture, png: bytes) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        height, width = picture.image.shape[:2]
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
        self._writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), 0)

    def _histogram(self, tag: str, exhibit: Histogram) -> None:
        """One step for each series, which is what TensorBoard draws on one axis and can lay over each other.

        As a tensor, since of older histograms the outermost bins are widened to the lowest and highest value.
        """
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.histogram.metadata import create_summary_metadata

        edges, series = on_common_bins(exhibit.series)
        steps = ", ".join(f"step {step} is {code(name)}" for step, name in enumerate(series))
        metadata = create_summary_metadata(display_name="", description=f"{steps}; values after step {exhibit.step}")
        shape = {"dim": [{"size": len(edges) - 1}, {"size": 3}]}
        for step, counts in enumerate(series.values()):
            buckets = np.stack([edges[:-1], edges[1:], counts], axis=1)
            content = buckets.astype("<f8").tobytes()
            tensor = {"dtype": "DT_DOUBLE", "tensor_shape": shape, "tensor_content": content}
            value = Summary.Value(tag=tag, tensor=tensor, metadata=metadata)
            self._writer.file_writer.add_summary(Summary(value=[value]), step)

    def _graph(self, tag: str, exhibit: Graph) -> None:
        """TensorBoard shows one graph a run, so each has a folder of its own.

        What has changed is marked as another device: that is a colour to choose, also of what lies in a folded module.
        """
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.graph_pb2 import GraphDef

        graph = GraphDef()
        for node in exhibit.nodes:
            drawn = graph.node.add(**printable({"name": node.name, "op": node.operator, "input": node.inputs}))
            drawn.device = _CHANGED if node.changed else _UNCHANGED  # by which nodes, and modules in part, are coloured
            for key, text in node.attributes.items():
                drawn.attr[printable(key)].s = text.encode("utf-8", "replace")
            if node.shape is not None:
                drawn.attr["_output_shapes"].list.shape.add(dim=[{"size": side} for side in node.shape])
        self._of(f"graph-{safe(tag)}").file_writer.add_event(Event(graph_def=graph.SerializeToString()))

    def _of(self, series: str) -> Any:
        if series not in self._writers:
            # torch's writer is the one most readers of event files are tested with
            from torch.utils.tensorboard import SummaryWriter

            folder = self._folder / series
            try:
                self._writers[series] = SummaryWriter(str(folder))
            except OSError as error:
                raise self._unwritable(folder, error) from error
        return self._writers[series]
