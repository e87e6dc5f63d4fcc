"""`emoclip keys`: make, list and revoke the API keys of a service."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from app.commands.exit_codes import ExitCode
from app.commands.parsers import Commands, create_command, print_line
from app.keys import KeysFile

__all__ = ["add_parser"]

_VARIABLE = "EMOCLIP_API_KEYS_FILE"


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    parser = create_command(commands, "keys", _keys, help="make, list and revoke API keys")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    create = verbs.add_parser("create", help="make a key and show it, once; only its hash is kept")
    create.add_argument("name", help="whose key it is; a name may have several, which share its jobs")
    show = verbs.add_parser("list", help="list the keys: id and name")
    revoke = verbs.add_parser("revoke", help="take keys away; a running service refuses them within a second")
    revoke.add_argument("name_or_id", metavar="NAME|ID", help="all keys of a name, or the one with this id")
    for verb, act in ((create, _create), (show, _list), (revoke, _revoke)):
        verb.add_argument("--file", type=Path, metavar="F", help=f"the file of keys (default: {_VARIABLE})")
        verb.set_defaults(act=act)


def _keys(options: argparse.Namespace, errors: Console) -> int:
    act: Callable[[argparse.Namespace, KeysFile, Console], int] = options.act
    if options.file is None and (named := os.environ.get(_VARIABLE)):
        options.file = Path(named)
    if options.file is None:
        errors.print(f"say which file holds the keys: set {_VARIABLE} or give --file")
        return ExitCode.NOTHING_DONE
    try:
        return act(options, KeysFile(options.file), errors)
    except (OSError, ValueError) as error:
        errors.print(str(error))
        return ExitCode.NOTHING_DONE


def _create(options: argparse.Namespace, file: KeysFile, _errors: Console) -> int:
    print_line(file.create(options.name))  # alone on standard output, for key=$(emoclip keys create NAME)
    print_line(f"The key is shown this once; {options.file} holds its SHA-256 only.", stderr=True)
    print_line(f"The service reads {_VARIABLE}={options.file}; clients send `Authorization: Bearer KEY`.", stderr=True)
    return ExitCode.DONE


def _list(_options: argparse.Namespace, file: KeysFile, _errors: Console) -> int:
    for key in file.list_keys():
        print_line(f"{key.id}  {key.name}")
    return ExitCode.DONE


def _revoke(options: argparse.Namespace, file: KeysFile, errors: Console) -> int:
    revoked = file.revoke(options.name_or_id)
    if not revoked:
        errors.print(f"{options.file} has no key with the name or id {options.name_or_id!r}")
        return ExitCode.NOTHING_DONE
    for key in revoked:
        print_line(f"revoked {key.id}  {key.name}")
    if not file.list_keys():
        print_line("No key is left: nobody can use the service until you make one.", stderr=True)
    return ExitCode.DONE
