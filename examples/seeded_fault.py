"""A pytest plugin that puts a classic mistake into the examples' preprocessing: blue, green, red for red, green, blue.

The labels stay right, so ordinary tests stay green. Use: pytest -p seeded_fault --modelviz examples
"""

import imagenet

right = imagenet.preprocess


def wrong(photo):
    return right(photo.flip(0))


imagenet.preprocess = wrong
