"""Names of models on the Hugging Face hub: owner/name, or owner/name@revision."""

import re
from dataclasses import dataclass

from ulmkit.errors import ConfigError

_HUB_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w.-]+(?:/[\w.-]+)*))?")


@dataclass(frozen=True)
class HubName:
    """A model on the hub.

    Attributes:
        repository: Owner and name, "owner/name".
        revision: Branch, tag or commit; None for the main branch.
    """

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.repository if self.revision is None else f"{self.repository}@{self.revision}"

    @property
    def model(self) -> str:
        """The name without its owner."""
        return self.repository.partition("/")[2]


def find_hub_name(text: str, revision: str | None = None) -> HubName | None:
    """Read a name of the form owner/name or owner/name@revision.

    Args:
        text: The name.
        revision: The revision, if the name has none.

    Returns:
        The name; None if the text is not of that form.

    Raises:
        ConfigError: If the name has a revision and another one is given.
    """
    match = _HUB_NAME.fullmatch(text)
    if match is None:
        return None
    repository, named = match.groups()
    if named is not None and revision not in (None, named):
        raise ConfigError(f"revision: got {revision!r} beside the one in {text}; give one of the two")
    name = HubName(repository, named or revision)
    parts = str(name).replace("@", "/").split("/")
    return None if {".", ".."} & set(parts) else name
