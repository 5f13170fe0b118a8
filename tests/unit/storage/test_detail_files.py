"""The files with all that is known of checks that did not match."""

import contextlib
from pathlib import PurePosixPath

from pytest_modelviz.storage.details import DetailFiles

A, B = PurePosixPath("test_net/test_a/feature_maps"), PurePosixPath("test_net/test_b/feature_maps")


def test_documents_are_kept_read_and_forgotten(tmp_path):
    files = DetailFiles(tmp_path / "details")
    assert files.keep(A, {"schema": 1, "text": "café"}) == tmp_path / "details/test_net/test_a/feature_maps.json"
    files.keep(B, {"schema": 1})
    assert files.read(A) == {"schema": 1, "text": "café"}
    files.forget_others({B})
    assert files.read(A) is None
    assert files.read(B) == {"schema": 1}


def test_what_is_no_document_is_not_read(tmp_path):
    files = DetailFiles(tmp_path)
    for text in ("", "[]", '{"a": 1e999}', '{"a": 1, "a": 2}', "{" * 10_000):
        (tmp_path / f"{A}.json").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{A}.json").write_text(text)
        assert files.read(A) is None


def test_nothing_is_written_through_links(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    files = DetailFiles(tmp_path / "details")
    files.root.mkdir()
    (files.root / "test_net").symlink_to(outside)
    with contextlib.suppress(OSError):
        files.keep(A, {"schema": 1})
    assert not list(outside.iterdir())
