"""An orphan as results.json holds it: it comes back as it was, also where an older version wrote it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.text.strict_json import parse_json

RECORD = OrphanRecord("t.py::test_a[x]", "v", "n", "gpu", "b.json", "0" * 64, "1" * 64)
OPTIONAL = {"function_is_there": False, "function_was_collected": True, "new_has_baseline": False}
texts, digests = st.text(max_size=5), st.none() | st.text("0123456789abcdef", max_size=64)


@settings(max_examples=50)
@given(
    st.builds(
        OrphanRecord,
        *(texts, texts, texts, st.none() | texts, texts, digests, digests),
        sources=st.dictionaries(texts, texts, max_size=2),
        function_is_there=st.booleans(),
        function_was_collected=st.booleans(),
        renamed_to=st.none() | texts,
        new_has_baseline=st.booleans(),
    )
)
def test_it_comes_back_as_it_was(record):
    assert OrphanRecord.from_json(parse_json(json.dumps(record.to_json()))) == record


def test_what_an_older_version_did_not_write_is_as_it_was_then():
    document = RECORD.to_json()
    for key in OPTIONAL:
        del document[key]
    read = OrphanRecord.from_json(document)
    assert read == RECORD
    assert {key: getattr(read, key) for key in OPTIONAL} == OPTIONAL


@pytest.mark.parametrize("key", sorted(RECORD.to_json().keys() - OPTIONAL.keys()))
def test_what_every_version_wrote_must_be_there(key):
    document = RECORD.to_json()
    del document[key]
    with pytest.raises(ValueError, match=repr(key)):
        OrphanRecord.from_json(document)


@pytest.mark.parametrize("key", RECORD.to_json())
def test_what_is_of_another_type_is_refused(key):
    with pytest.raises(ValueError, match=repr(key)):
        OrphanRecord.from_json({**RECORD.to_json(), key: 3})


def test_its_key_and_its_file():
    assert RECORD.key == ("t.py::test_a[x]", "n", "gpu")
    assert RECORD.test_file == "t.py"
