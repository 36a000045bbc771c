"""What third parties offer inside the vendor's iMessage app: /v3/experiences."""

from __future__ import annotations

from linq_client import models
from linq_client.resources._base import Resource, path_to

__all__ = ["Experiences"]


class Experiences(Resource):
    """The experiences of this account, and the actions that a message can invoke; see `linq_client.Experience`."""

    def list(self) -> list[models.Experience]:
        """Return all experiences (GET /v3/experiences).

        The API documents no pages; should there be some one day, all are read.
        """
        return list(self._list(lambda: models.Experience, "/v3/experiences", "experiences"))

    def get(self, name: str) -> models.Experience:
        """Get one experience by its name (GET /v3/experiences/{experience})."""
        return self._call(models.Experience, "GET", path_to("/v3/experiences/{}", name=name))
