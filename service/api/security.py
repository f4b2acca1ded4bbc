"""The optional API key."""

import hmac

from fastapi import Request
from pydantic import SecretStr


class UnauthorizedError(Exception):
    """The API key is missing or wrong."""


class ApiKey:
    """A FastAPI dependency that wants `Authorization: Bearer <key>`; lets everyone in where no key is set."""

    def __init__(self, key: SecretStr | None) -> None:
        self._expected = None if key is None else f"Bearer {key.get_secret_value()}".encode()

    def __call__(self, request: Request) -> None:
        """Raises UnauthorizedError."""
        given = request.headers.get("authorization", "").encode("latin-1")
        # Compared in constant time, so that the time of an answer tells nothing about the key.
        if self._expected is not None and not hmac.compare_digest(given, self._expected):
            raise UnauthorizedError("send the service's key as `Authorization: Bearer <key>`")
