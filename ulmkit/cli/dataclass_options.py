"""Options of the command line made from the fields of dataclasses: type, default and help."""

import dataclasses
import inspect
import re
from typing import Any, get_type_hints

_SENTENCE_END = re.compile(r"(?<=\.) (?=[A-Z\"`])")  # not in "et al. 2017"


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a command.

    Attributes:
        type: Type that typer parses.
        help: Text in `--help`.
        default: Value if the option is not given.
        flag: Name on the command line, if it is not that of the keyword.
    """

    type: Any
    help: str
    default: Any = None
    flag: str | None = None

    @property
    def is_switch(self) -> bool:
        """True if the option has no value, and can only be turned on."""
        return self.default is False or (self.default is None and self.type == bool | None)

    def optional(self) -> "Option":
        """Return the option with None for "not given"; its help names the default that applies then."""
        default = "" if self.default is None or self.default is False else f" (default: {self.default})"
        return dataclasses.replace(
            self, type=self.type | None, help=self.help.rstrip(".") + f"{default}.", default=None
        )


def field_options(source: Any, *names: str, prefix: str = "", **changes: dict[str, Any]) -> dict[str, Option]:
    """Make options from fields of a dataclass.

    Args:
        source: A dataclass, or an instance whose values become the defaults.
        names: Fields to take; all that can be set if there are none.
        prefix: Prepended to the names of the options.
        changes: By field, what its option has of its own; for example `peak_rate={"flag": "--rate"}`.

    Returns:
        Options by keyword. The help of each is the first sentence of the field's entry under `Attributes:`.
    """
    cls = source if isinstance(source, type) else type(source)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    summaries = attribute_summaries(cls)
    options = {}
    for name in names or [name for name, field in fields.items() if field.init]:
        default = fields[name].default if source is cls else getattr(source, name)
        declared = fields[name].type
        if isinstance(declared, str):  # of a module with postponed annotations
            declared = get_type_hints(cls)[name]
        option = Option(declared, summaries.get(name, ""), default)
        options[prefix + name] = dataclasses.replace(option, **changes.get(name, {}))
    return options


def attribute_summaries(cls: type) -> dict[str, str]:
    """Return the first sentence of each entry in the `Attributes:` sections of a class and its bases."""
    summaries = {}
    for base in reversed(cls.__mro__):
        _, _, section = inspect.cleandoc(base.__doc__ or "").partition("\nAttributes:\n")
        section = re.split(r"\n(?=\S)", section, maxsplit=1)[0]
        for name, text in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE):
            summaries[name] = _SENTENCE_END.split(" ".join(text.split()), maxsplit=1)[0]
    return summaries
