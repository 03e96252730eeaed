"""`aboveboard schema`: the configuration file's form, for editors."""

import json

import click

from aboveboard.config import json_schema


@click.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))
