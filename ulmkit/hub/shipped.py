"""Models that the package ships, in `ulmkit/models/NAME`: found by name, without a network. Imports without torch."""

from pathlib import Path

from ulmkit.hub.folder_config import CONFIG_FILE, read_config
from ulmkit.hub.text_parts import load_text_parts
from ulmkit.text.tokens.tokenizer import Tokenizer
from ulmkit.text.tokens.vocabulary import Vocabulary


def shipped_models_folder() -> Path:
    """Folder with a model folder for each shipped model; it need not exist."""
    return Path(__file__).parents[1] / "models"


def shipped_models() -> dict[str, Path]:
    """Folder of each shipped model by name, in alphabetical order; empty if the package ships none."""
    return {config.parent.name: config.parent for config in sorted(shipped_models_folder().glob(f"*/{CONFIG_FILE}"))}


def shipped_with_vocabulary(tokenizer: Tokenizer, vocabulary: Vocabulary) -> str | None:
    """Name of the shipped pair that has this kind of tokenizer and this vocabulary; None if there is none."""
    for name, folder in shipped_models().items():
        config = read_config(folder / "forward")
        if (config["tokenizer"]["name"], config["vocabulary"].get("fingerprint")) == (
            tokenizer.name,
            vocabulary.fingerprint,
        ):
            return name
    return None


def shipped_text_parts(name: str) -> tuple[Vocabulary, Tokenizer] | None:
    """Vocabulary and tokenizer of a shipped pair, whose members share them; None if the package does not ship it."""
    folder = shipped_models().get(name)
    if folder is None:
        return None
    return load_text_parts(folder / "forward", read_config(folder / "forward"))
