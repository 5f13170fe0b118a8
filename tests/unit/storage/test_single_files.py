"""Single files of this machine."""

from pytest_modelviz.storage.files import files_below


def test_files_below_follows_no_link_and_passes_over_nothing_beside_one(tmp_path):
    (tmp_path / "root/a").mkdir(parents=True)
    (tmp_path / "root/a/b.json").touch()
    (tmp_path / "root/hidden").mkdir()
    (tmp_path / "root/hidden/c.json").touch()
    (tmp_path / "root/a/loop").symlink_to("loop")
    (tmp_path / "root/a/up").symlink_to(tmp_path)
    (tmp_path / "root/a/gone").symlink_to("nothing")
    found = files_below(tmp_path / "root", lambda folder: folder.name != "hidden")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in found) == [
        "root/a/b.json",
        "root/a/gone",
        "root/a/loop",
        "root/a/up",
    ]
    assert list(files_below(tmp_path / "nothing", lambda _: True)) == []
