"""Folders that are not as on the machine of the tests."""

from pathlib import PurePosixPath

from pytest_modelviz.storage.local_folder import LocalFolder


class CaselessFolder(LocalFolder):
    """A folder as on Windows and macOS: it keeps a name as it was first written, and finds it however it is spelled."""

    def _spelled(self, name: str) -> str:
        at, words = self.root, []
        for word in PurePosixPath(name).parts:
            known = [path.name for path in at.iterdir()] if at.is_dir() else []
            words.append(next((one for one in known if one.lower() == word.lower()), word))
            at = at / words[-1]
        return "/".join(words)

    def read(self, name: str, limit: int) -> bytes:
        return super().read(self._spelled(name), limit)

    def write(self, name: str, data: bytes) -> None:
        super().write(self._spelled(name), data)

    def move(self, old: str, new: str) -> None:
        super().move(self._spelled(old), self._spelled(new))

    def delete(self, name: str) -> None:
        super().delete(self._spelled(name))

    def siblings(self, name: str) -> dict[str, float]:
        return super().siblings(self._spelled(name))
