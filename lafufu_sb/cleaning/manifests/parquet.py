"""Parquet files with embedded audio, as on the Hugging Face Hub."""

import contextlib

from lafufu_sb.cleaning.manifests.arrow import ROWS, ArrowManifest
from lafufu_sb.cleaning.manifests.base import register

_GROUP = 100, 2**26  # largest row group: rows, bytes
_BUFFER = 2**20  # bytes
_CODECS = ("brotli", "gzip", "lz4", "snappy", "zstd")  # that Arrow writes


@register
class ParquetManifest(ArrowManifest):
    """A Parquet file, or a folder of them."""

    kind = "parquet"
    endings = (".parquet",)
    part_suffix = ".parquet"

    def schema(self, path):
        """See ``ArrowManifest``."""
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(path) as file:
            _codecs(file.metadata)  # damaged names would end the writing
            return file.schema_arrow

    def batches(self, path, columns=None):
        """See ``ArrowManifest``."""
        import pyarrow.parquet

        # Read page by page: by default, whole row groups are read and kept to the end.
        options = {"pre_buffer": False, "buffer_size": _BUFFER}
        options["page_checksum_verification"] = True
        with pyarrow.parquet.ParquetFile(path, **options) as file:
            yield from file.iter_batches(ROWS, columns=columns)

    @contextlib.contextmanager
    def writer(self, path, like, schema):
        """See ``ArrowManifest``; each column keeps its compression."""
        import pyarrow
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(like) as file:
            codecs = _codecs(file.metadata)
        waiting = []

        def flush():
            if waiting:
                out.write_table(pyarrow.concat_tables(waiting))
                waiting.clear()

        def write(table):
            waiting.append(table)
            rows, size = (sum(t) for t in zip(*map(_extent, waiting), strict=True))
            if rows >= _GROUP[0] or size >= _GROUP[1]:
                flush()

        with pyarrow.parquet.ParquetWriter(path, schema, compression=codecs) as out:
            yield write
            flush()


def _extent(table):
    return table.num_rows, table.nbytes


def _codecs(metadata):
    """Compression of each column of the first row group."""
    if not metadata.num_row_groups:
        return "snappy"
    group = metadata.row_group(0)
    columns = map(group.column, range(group.num_columns))
    codecs = {c.path_in_schema: c.compression.lower() for c in columns}
    return {n: codec if codec in _CODECS else "none" for n, codec in codecs.items()}
