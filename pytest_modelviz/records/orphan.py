"""A baseline whose test is gone, and what that test may be called now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_modelviz.records.json_values import nullable, optional, plain_record, required
from pytest_modelviz.text.strict_json import JsonObject, JsonValue


@dataclass(frozen=True)
class OrphanRecord:
    """An orphan as results.json holds it.

    `baseline` is its path as people write it. `test_file_sha256` is the digest of its test's file, None where there is
    none; `sources` are the digests of the other modules that its test's id may depend on, by their paths.
    `function_is_there` says that the test's function is still in that file, `function_was_collected` that the run found
    it with other parameters, so that only these are gone: else a run with other options may find it.
    `renamed_to` is the test of which a capture has the same content, and `new_has_baseline` says that it was recorded.
    """

    nodeid: str
    view: str
    name: str
    variant: str | None
    baseline: str
    baseline_sha256: str | None
    test_file_sha256: str | None
    sources: Mapping[str, str] = field(default_factory=dict)
    function_is_there: bool = False
    function_was_collected: bool = True
    renamed_to: str | None = None
    new_has_baseline: bool = False

    @property
    def key(self) -> tuple[str, str, str | None]:
        """What identifies a baseline: its test, its check and its variant."""
        return self.nodeid, self.name, self.variant

    @property
    def test_file(self) -> str:
        """The test's file, relative to the project."""
        return self.nodeid.partition("::")[0]

    def to_json(self) -> dict[str, JsonValue]:
        """The orphan as a JSON object."""
        return plain_record(self)

    @classmethod
    def from_json(cls, document: JsonObject) -> OrphanRecord:
        """What `to_json` of any version wrote; raises ValueError for what cannot be understood."""
        sources = required(document, "sources", dict)
        return cls(
            nodeid=required(document, "nodeid", str),
            view=required(document, "view", str),
            name=required(document, "name", str),
            variant=nullable(document, "variant", str),
            baseline=required(document, "baseline", str),
            baseline_sha256=nullable(document, "baseline_sha256", str),
            test_file_sha256=nullable(document, "test_file_sha256", str),
            sources={file: required(sources, file, str) for file in sources},
            function_is_there=optional(document, "function_is_there", bool) or False,
            function_was_collected=optional(document, "function_was_collected", bool) is not False,
            renamed_to=nullable(document, "renamed_to", str),
            new_has_baseline=optional(document, "new_has_baseline", bool) or False,
        )
