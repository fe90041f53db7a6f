"""Columns that are added to Arrow tables: numbers and texts about the recordings."""

import json


def kinds(columns, cleaned):
    """Names of the columns to add, each with whether it holds text.

    Arguments
    ---------
    columns : sequence of str
        Columns of audio; see ``Manifest.added`` for the names of several.
    cleaned : dict of str to (Cleaned or None)
        See ``Manifest.write``.

    Returns
    -------
    dict of str to bool
    """
    found = {}
    for result in filter(None, cleaned.values()):
        for key, value in result.fields.items():
            found[key] = found.get(key, False) or isinstance(value, str)
    if len(columns) == 1:
        return found
    return {f"{name}_{key}": text for name in columns for key, text in found.items()}


def extended(schema, added):
    """A schema with further columns at its end, noted for the package ``datasets``.

    Arguments
    ---------
    schema : pyarrow.Schema
        Its columns of the same names are left out.
    added : dict of str to bool
        See ``kinds``.

    Returns
    -------
    pyarrow.Schema
    """
    import pyarrow

    if not added:
        return schema
    fields = [field for field in schema if field.name not in added]
    fields += [
        pyarrow.field(name, pyarrow.string() if text else pyarrow.float64())
        for name, text in added.items()
    ]
    metadata = dict(schema.metadata or {})
    if b"huggingface" in metadata:
        noted = json.loads(metadata[b"huggingface"])
        note(noted.get("info", {}), added)
        metadata[b"huggingface"] = json.dumps(noted).encode()
    return pyarrow.schema(fields, metadata)


def note(info, added):
    """Add columns to the features of a dataset's description, if it has some."""
    features = info.get("features")
    if isinstance(features, dict):
        for name, text in added.items():
            features.pop(name, None)
            dtype = "string" if text else "float64"
            features[name] = {"dtype": dtype, "_type": "Value"}


def with_columns(table, schema, added, rows):
    """A table in an extended schema.

    Arguments
    ---------
    table : pyarrow.Table
        The table.
    schema : pyarrow.Schema
        See ``extended``.
    added : dict of str to bool
        See ``kinds``.
    rows : sequence of dict
        Values to add to each row, by name; missing ones are null.

    Returns
    -------
    pyarrow.Table
    """
    import pyarrow

    columns = [
        pyarrow.array([row.get(field.name) for row in rows], field.type)
        if field.name in added
        else table.column(field.name)
        for field in schema
    ]
    return pyarrow.Table.from_arrays(columns, schema=schema)
