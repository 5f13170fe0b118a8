"""What a team's own test of its classifier may look like."""

import pytest
from imagenet import load_classifier, load_photo

TABBY_EGYPTIAN_CAT, ESPRESSO = 285, 967


@pytest.fixture(scope="module")
def classifier():
    return load_classifier()


def test_architecture(classifier, model_summary):
    summary = model_summary(classifier, (1, 3, 224, 224))
    assert summary.total_params < 5_000_000


@pytest.mark.parametrize(("photo", "label"), [("chelsea", TABBY_EGYPTIAN_CAT), ("coffee", ESPRESSO)])
def test_classifier(classifier, photo, label, feature_maps, cam_map):
    image = load_photo(photo)
    maps = feature_maps(classifier, image)  # every layer's output, pictures of some
    assert maps.output.argmax() == label
    cam_map(classifier, image, target=label)  # what the model looks at
