"""Files beside weights that were made for them: whether the weights are still the same."""

import logging
from pathlib import Path

from simulst.models.fingerprint import fingerprint_of_weights

WEIGHTS = "weights"
"""Under this key such a file keeps `fingerprint_of_weights`; one without it is taken as it is."""

logger = logging.getLogger(__name__)


def warn_of_others(path: Path, made_for: object, remedy: str) -> None:
    """One warning where a file was made for weights that are no longer in its folder; it is used all the same.

    `made_for` is what the file says, `remedy` the command that makes it anew.
    """
    if made_for and made_for != fingerprint_of_weights(path.parent):
        logger.warning(
            "%s was made for other weights than those in its folder, and may fit them badly; make it anew with %s.",
            path,
            remedy,
        )
