"""The optional API key."""

import hmac

from fastapi import Request
from pydantic import SecretStr


class UnauthorizedError(Exception):
    """The API key is missing or wrong."""


class ApiKey:
    """A FastAPI dependency that wants `Authorization: Bearer <key>`; lets everyone in where no key is set."""

    def __init__(self, key: SecretStr | None) -> None:
        self._expected = None if key is None else key.get_secret_value().encode()

    async def __call__(self, request: Request) -> None:
        """Raises UnauthorizedError."""
        if self._expected is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Compared in constant time, so that the time of an answer tells nothing about the key.
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode("latin-1"), self._expected):
            raise UnauthorizedError("send the service's key as `Authorization: Bearer <key>`")
