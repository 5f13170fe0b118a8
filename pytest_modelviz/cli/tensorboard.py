"""`modelviz tensorboard`: TensorBoard on the event files of runs, and how to reach it from another machine."""

import contextlib
import getpass
import ipaddress
import itertools
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from pytest_modelviz.cli.options import ReviewOptions, review_options
from pytest_modelviz.cli.output import print_line
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.storage.event_folders import TREND
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.text.printable import command_line

# with -m, or without the first statements, Python would look for it, and what it imports, in the current folder
_TENSORBOARD = "import sys; sys.path[:] = filter(None, sys.path); from tensorboard.main import run_main; run_main()"
_ALL_IMAGES = "--samples_per_plugin=images=1000"  # else ten steps of a tag, chosen at random; with 0 there are none
_PORT, _PORTS = 6006, 10  # the first one that TensorBoard tries, and how many
_ANY_PORT = "0"  # one that TensorBoard chooses and prints
_SSH = 22


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[TENSORBOARD OPTIONS]...")
@review_options
def tensorboard(options: ReviewOptions, arguments: Sequence[str]) -> None:
    """Open the pictures of drifts and the errors of all runs in TensorBoard."""
    folders = [folder.tensorboard for folder in options.folders()]
    existing = [folder for folder in folders if folder.is_dir()]
    if not existing:
        raise ModelvizError(f"there are no event files in {folders[0]}: run pytest --modelviz first")
    if len(existing) > 1 and any(set(",:") & set(str(folder)[len(folder.anchor) :]) for folder in existing):
        raise ModelvizError("TensorBoard takes several folders only if none has a comma or a colon in its path")
    several = ",".join(f"{name}:{folder}" for name, folder in zip(_names(existing), existing, strict=True))
    logs = ["--logdir", str(existing[0])] if len(existing) == 1 else ["--logdir_spec", several]
    port = _given_port(arguments)
    chosen = [] if port else [f"--port={_free_port()}"]
    command = [sys.executable, "-c", _TENSORBOARD, *logs, _ALL_IMAGES, *chosen, *arguments]
    if port != _ANY_PORT:
        for line in _hints(port or chosen[0].partition("=")[2], options.folders()):
            print_line(line)
    try:
        raise click.exceptions.Exit(subprocess.run(command, check=False).returncode)  # noqa: S603  # the user's own
    except KeyboardInterrupt:  # how TensorBoard is ended
        raise click.exceptions.Exit(0) from None


def _names(folders: Sequence[Path]) -> list[str]:
    """What tells the runs of several results apart: TensorBoard shows one folder alone under each name."""
    homes = [folder.parent for folder in folders]
    names = [(home.parent if home.name == ".modelviz" else home).name for home in homes]
    if len(set(names)) == len(names) and all(names):
        return names
    return [f"{at}-{name}" for at, name in enumerate(names, 1)]


def _hints(port: str, folders: Sequence[ResultsFolder]) -> list[str]:
    """Where to begin, and how to get there from another machine."""
    url = f"http://localhost:{port}/#"
    host = _remote_host(os.environ)
    lines = [
        f"summary of each run, the last one first: {url}text",
        f"pictures of the last run: {url}images{_of_run(folders)}",
        f"errors over runs: {url}scalars&_smoothingWeight=0&regexInput={TREND}",
    ]
    if host:
        ssh = command_line(["ssh", "-L", f"{port}:localhost:{port}", *host])
        lines.insert(0, f"on your own machine, first: {ssh}")
    return lines


def _of_run(folders: Sequence[ResultsFolder]) -> str:
    """What makes TensorBoard show the last run alone, where there is a single one."""
    with contextlib.suppress(ModelvizError):
        names = {folder.read().run.tensorboard or "" for folder in folders}
        if len(names) == 1 and re.fullmatch(r"[\w.-]+", name := names.pop(), re.ASCII):
            return f"&regexInput={name}"
    return ""


def _remote_host(environment: Mapping[str, str]) -> list[str]:
    """What ssh is told to reach this machine, by the connection that this process was started in; [] without one."""
    fields = environment.get("SSH_CONNECTION", "").split()
    try:
        address, port = str(ipaddress.ip_address(fields[2])), int(fields[3])
    except (IndexError, ValueError):
        return []
    return [*(["-p", str(port)] if port != _SSH else []), f"{getpass.getuser()}@{address}"]


def _given_port(arguments: Sequence[str]) -> str | None:
    """The port among TensorBoard's own options, the last one; None where there is none."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    ports = [after for word, after in itertools.pairwise(words) if word == "--port"]
    return ports[-1] if ports else None


def _free_port() -> int:
    """The port that TensorBoard would choose; its first one where all are taken, as it then says."""
    for port in range(_PORT, _PORT + _PORTS):
        with socket.socket() as listener:
            try:
                listener.bind(("localhost", port))
            except OSError:
                continue
            return port
    return _PORT
