"""A client's name for its video: data to show, never a path."""

__all__ = ["MAX_FILE_NAME", "clean_file_name"]

MAX_FILE_NAME = 255


def clean_file_name(name: str) -> str:
    """Return the name as it may be stored: printable, and of bounded length."""
    return "".join(character for character in name if character.isprintable())[:MAX_FILE_NAME]
