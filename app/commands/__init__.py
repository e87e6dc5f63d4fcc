"""The subcommands of `emoclip`, a file each: `add_parser` describes one, the `run` that it sets does it."""
