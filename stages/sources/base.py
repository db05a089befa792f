"""What a source is."""

from stages.base import Stage


class Source(Stage):
    """Reads records from files; the engine turns them into document shards."""

    path: str
    shard_bytes: int = 32_000_000
