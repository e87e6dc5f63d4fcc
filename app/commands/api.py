"""`emoclip api`: the API process alone, for production."""

import argparse
import contextlib

from pydantic import ValidationError
from rich.console import Console

from app.commands.exit_codes import ExitCode
from app.commands.parsers import Commands, add_address, create_command

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    parser = create_command(commands, "api", _api, help="run the API alone; Redis is at EMOCLIP_REDIS_URL")
    add_address(parser)


def _api(options: argparse.Namespace, errors: Console) -> int:
    import uvicorn

    from app.auth import check_access
    from app.logs import create_log_config
    from app.main import create_app
    from app.processes import sigterm_as_interrupt
    from app.server import ApiServer
    from app.settings import ApiSettings

    settings = ApiSettings()
    host = options.host or settings.host
    try:
        check_access(settings, host=host)
        app = create_app(settings.model_copy(update={"host": host}))
    except (OSError, ValueError) as error:  # such as a file of API keys that cannot be read
        if isinstance(error, ValidationError):
            raise
        errors.print(str(error))
        return ExitCode.NOTHING_DONE
    # uvicorn ends itself by the signal that stopped it; being stopped is no failure
    with contextlib.suppress(KeyboardInterrupt), sigterm_as_interrupt():
        config = uvicorn.Config(
            app,
            host=host,
            port=settings.port if options.port is None else options.port,
            server_header=False,
            access_log=False,  # app.request_ids logs requests, without the names that a query may hold
            log_config=create_log_config(),
            timeout_keep_alive=75,  # outlives the pauses of those who poll, or a request meets a closing connection
            timeout_graceful_shutdown=10,  # an upload may take an hour; what it left is cleaned up when it is cut off
        )
        server = ApiServer(config, before_stop=app.state.live.watcher.stop)
        server.run()
        if not server.started:  # the reason stands in the log
            return ExitCode.FAILED
    return ExitCode.DONE
