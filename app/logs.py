"""How the API process logs: one line an event on standard error, requests without their query (it may hold names)."""

from typing import Any

__all__ = ["create_log_config"]


def create_log_config() -> dict[str, Any]:
    """Return the configuration for `logging.config.dictConfig`, in the form that uvicorn takes."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": "INFO", "handlers": ["stderr"]},
        # the multipart parser warns of every malformed form, which the client is told
        "loggers": {"python_multipart": {"level": "ERROR"}},
    }
