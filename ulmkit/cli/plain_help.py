"""Help as plain text in sections: rendering it with rich, and parsing its flag with pydantic, would take longer."""

from typing import Any

from typer.core import TyperCommand, TyperGroup

import ulmkit

WIDTH = 110
"""Columns of the help, if the terminal has as many."""


def _show_help_first(ctx: Any, args: list[str]) -> None:
    """Print the help and exit if the first argument asks for it."""
    if args and args[0] in ctx.help_option_names and not ctx.resilient_parsing:
        print(ctx.get_help())
        ctx.exit()


class PlainGroup(TyperGroup):
    """All commands, listed with their summaries."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments before the command."""
        _show_help_first(ctx, args)
        if args and args[0] == "--version" and not ctx.resilient_parsing:
            print(f"ulmkit {ulmkit.__version__}")
            ctx.exit()
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the options that stand before any command."""
        with formatter.section("Options"):
            formatter.write_dl(
                [
                    ("-h, --help", "Show this message or, after a command, its options."),
                    ("--version", "Show the version."),
                ]
            )


class PlainCommand(TyperCommand):
    """One command, whose help has a section for each group of options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command's arguments and options."""
        _show_help_first(ctx, args)
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line, with arguments as they were named: typer would add brackets."""
        options = super().collect_usage_pieces(ctx)[:1]
        return options + [each.metavar or "" for each in self.get_params(ctx) if each.param_type_name == "argument"]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options, each under the heading of its group."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                record = record[0].replace("list[str]", "str"), record[1]  # each occurrence takes one value
                heading = "Arguments" if parameter.param_type_name == "argument" else "Options"
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or heading, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)
