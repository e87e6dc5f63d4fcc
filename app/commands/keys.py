"""`emoclip keys`: make, list and revoke the API keys of a service, and make the secret that signs its webhooks."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from app.commands.exit_codes import ExitCode
from app.commands.parsers import Commands, create_command, print_line
from app.keys import KeysFile

__all__ = ["add_parser"]

_KEYS_VARIABLE, _SECRET_VARIABLE = "EMOCLIP_API_KEYS_FILE", "EMOCLIP_WEBHOOK_SECRET_FILE"

Act = Callable[[argparse.Namespace, Path, Console], int]


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    parser = create_command(commands, "keys", _keys, help="make, list and revoke API keys; make webhooks' secret")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    create = verbs.add_parser("create", help="make a key and show it, once; only its hash is kept")
    create.add_argument("name", help="whose key it is; a name may have several, which share its jobs")
    show = verbs.add_parser("list", help="list the keys: id and name")
    revoke = verbs.add_parser("revoke", help="take keys away; a running service refuses them within a second")
    revoke.add_argument("name_or_id", metavar="NAME|ID", help="all keys of a name, or the one with this id")
    secret = verbs.add_parser("webhook-secret", help="make a secret that signs webhooks, and show it")
    for verb, act in ((create, _create), (show, _list), (revoke, _revoke)):
        _add_file(verb, act, _KEYS_VARIABLE, "the file of keys")
    _add_file(secret, _create_secret, _SECRET_VARIABLE, "the file of secrets; with several, all of them sign")


def _add_file(verb: argparse.ArgumentParser, act: Act, variable: str, help: str) -> None:
    verb.add_argument("--file", type=Path, metavar="F", help=f"{help} (default: {variable})")
    verb.set_defaults(act=act, variable=variable)


def _keys(options: argparse.Namespace, errors: Console) -> int:
    act: Act = options.act
    named = options.file or os.environ.get(options.variable)
    if not named:
        errors.print(f"say which file it is: set {options.variable} or give --file")
        return ExitCode.NOTHING_DONE
    try:
        return act(options, Path(named), errors)
    except (OSError, ValueError) as error:
        errors.print(str(error))
        return ExitCode.NOTHING_DONE


def _create(options: argparse.Namespace, path: Path, _errors: Console) -> int:
    print_line(KeysFile(path).create(options.name))  # alone on standard output, for key=$(emoclip keys create NAME)
    print_line(f"The key is shown this once; {path} holds its SHA-256 only.", stderr=True)
    print_line(f"The service reads {_KEYS_VARIABLE}={path}; clients send `Authorization: Bearer KEY`.", stderr=True)
    return ExitCode.DONE


def _list(_options: argparse.Namespace, path: Path, _errors: Console) -> int:
    for key in KeysFile(path).list_keys():
        print_line(f"{key.id}  {key.name}")
    return ExitCode.DONE


def _revoke(options: argparse.Namespace, path: Path, errors: Console) -> int:
    file = KeysFile(path)
    revoked = file.revoke(options.name_or_id)
    if not revoked:
        errors.print(f"{path} has no key with the name or id {options.name_or_id!r}")
        return ExitCode.NOTHING_DONE
    for key in revoked:
        print_line(f"revoked {key.id}  {key.name}")
    if not file.list_keys():
        print_line("No key is left: nobody can use the service until you make one.", stderr=True)
    return ExitCode.DONE


def _create_secret(_options: argparse.Namespace, path: Path, _errors: Console) -> int:
    from app.webhook_sender import create_webhook_secret

    print_line(create_webhook_secret(path))
    print_line(
        f"Receivers verify webhooks with it. A service started with {_SECRET_VARIABLE}={path} signs them.", stderr=True
    )
    return ExitCode.DONE
