"""Each command has the options that are declared for it, and is called with one object of them."""

from __future__ import annotations

import dataclasses

import pytest

from tests.conftest import parse, subcommand
from titanic_batch.errors import UsageError
from titanic_batch.runs.options import DECLARED, RejectLimit, RunOptions
from titanic_batch.runs.shards import Shard

COMMANDS = ("score", "validate", "fit")
DEFAULTS = {field.name: field.default for field in dataclasses.fields(RunOptions)}


def spelled(name: str) -> str:
    flags = DECLARED[name].flags
    return flags[0] if flags else f"--{name.replace('_', '-')}"


def test_every_option_belongs_to_a_command() -> None:
    assert DEFAULTS.keys() - DECLARED.keys() == {"detailed", "progress"}
    assert {command for option in DECLARED.values() for command in option.commands} == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_the_options_that_are_declared_for_it(command: str) -> None:
    parameters = {parameter.name: parameter for parameter in subcommand(command).params}
    declared = [name for name, option in DECLARED.items() if command in option.commands]
    assert [name for name in parameters if name in DECLARED] == declared
    for name in declared:
        assert spelled(name) in parameters[name].opts
        assert parameters[name].help == DECLARED[name].help
        assert not parameters[name].secondary_opts, "there is no option that turns another off"


@pytest.mark.parametrize("command", COMMANDS)
def test_options_that_are_not_given_have_their_defaults(command: str) -> None:
    given = parse(command, *(["in.csv", "-o", "p.csv"] if command == "score" else ["in.csv"]))
    for name in given.keys() & DECLARED.keys():
        assert (given[name] or DEFAULTS[name]) == DEFAULTS[name]


def test_options_are_given_as_what_they_stand_for() -> None:
    given = parse(
        *("score", "in.csv", "-o", "out/", "--max-rejects", "2.5%", "--shard", "1/3", "--input-format", "csv.gz"),
        *("--keep", "Name", "--keep", "Fare", "--max-psi", "0.5", "--resume", "-j", "3"),
    )
    assert given["max_rejects"] == RejectLimit.parse("2.5%")
    assert given["shard"] == Shard(1, 3)
    assert (given["input_format"], given["max_psi"], given["resume"], given["jobs"]) == ("csv.gz", 0.5, True, 3)
    assert list(given["keep"]) == ["Name", "Fare"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--max-rejects", "many"), "many is no limit of rejects"),
        (("--shard", "3/3"), "--shard 3/3 is no shard"),
        (("--output-format", "xml"), "--output-format xml: it is one of csv, "),
        (("--max-psi", "inf"), "--max-psi inf: it must be a finite number"),
        (("--rejects", ""), "--rejects is followed by an empty name"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_its_name(arguments: tuple[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse("score", "in.csv", "-o", "p.csv", *arguments)
