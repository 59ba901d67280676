"""Requests that are refused, and the form of the answer."""

from ulmkit.errors import UlmkitError


class RefusalError(UlmkitError):
    """A request that the server does not answer.

    Attributes:
        status: HTTP status of the answer.
        retry_seconds: When to try again; None if that does not help.
    """

    def __init__(self, status: int, message: str, retry_seconds: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_seconds = retry_seconds

    @property
    def body(self) -> dict[str, str]:
        """The answer as a JSON object."""
        return {"error": str(self)}

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to the answer."""
        headers = {} if self.retry_seconds is None else {"Retry-After": str(self.retry_seconds)}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})
