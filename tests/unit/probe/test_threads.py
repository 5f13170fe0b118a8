"""The cores of a machine are shared between the processes of a run, and torch's threads are put back."""

import sys

import pytest
import torch

from pytest_modelviz.probe import threads
from pytest_modelviz.probe.threads import available_cores, sharing_cores


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 8)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("before", "processes", "within"),
    [
        (8, 2, 4),
        (8, 3, 2),
        (12, 4, 2),
        (8, 9, 1),  # more processes than cores
        (3, 2, 3),  # the user's own number, which is smaller
        (1, 2, 1),
        (12, 1, 12),  # the only process: the user's number, whatever it is
    ],
)
def test_a_process_uses_its_share(before, processes, within):
    torch.set_num_threads(before)
    with sharing_cores(processes):
        assert torch.get_num_threads() == within
    assert torch.get_num_threads() == before


def test_a_block_that_raises_or_sets_a_number_itself_leaves_the_number_as_it_was():
    torch.set_num_threads(6)

    def fail():
        with sharing_cores(2):
            torch.set_num_threads(5)
            raise IndexError("from the block")

    with pytest.raises(IndexError, match="from the block"):
        fail()
    assert torch.get_num_threads() == 6


def test_where_torch_is_not_imported_it_stays_so(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    with sharing_cores(2):
        assert "torch" not in sys.modules


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 6),
        ({"cpu.max": "max 100000"}, 6),
        ({"cpu.max": "150000 100000"}, 2),  # one and a half
        ({"cpu.max": "1000 100000"}, 1),
        ({"cpu.max": "900000 100000"}, 6),
        ({"cpu.max": "not numbers"}, 6),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 6),
    ],
)
def test_cores_of_the_affinity_mask_and_of_the_quota(files, cores, tmp_path, monkeypatch):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(threads, "_CGROUP", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3, 6, 7}, raising=False)
    assert available_cores() == cores


def test_cores_of_a_system_without_affinity_masks(tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "_CGROUP", tmp_path)
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    for count, cores in ((12, 12), (None, 1)):
        monkeypatch.setattr("os.cpu_count", lambda count=count: count)
        assert available_cores() == cores
