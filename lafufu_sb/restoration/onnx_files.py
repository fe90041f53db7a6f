"""ONNX files that are checked before a runtime sees them."""

import hashlib

from lafufu_sb.errors import UsageError

_LARGEST = 2**31 - 1  # bytes, of a protocol buffer
_DOMAINS = ("", "ai.onnx")  # of operators that every runtime has


def read_graph(path):
    """Bytes of an ONNX file, and their hash.

    Arguments
    ---------
    path : Path
        The file. Nothing else is read.

    Returns
    -------
    content : bytes
        To be given to the runtime, in place of the path.
    sha256 : str
        Hexadecimal.

    Raises
    ------
    UsageError
        If it is larger than a graph can be.
    """
    with open(path, "rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise UsageError(f"{path} is larger than 2 GB: no ONNX graph is")
    return content, hashlib.sha256(content).hexdigest()


def refuse_foreign_parts(content, path):
    """Refuse a graph that refers to other files or to operators of other libraries.

    Arguments
    ---------
    content : bytes
        Of the file.
    path : Path
        For messages.

    Raises
    ------
    UsageError
        For external data, operators outside ONNX, or something else than a graph.
    """
    import onnx

    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # of protobuf's own class
        raise UsageError(f"{path} is damaged: it is no ONNX graph") from error
    own = {(function.domain, function.name) for function in model.functions}
    for part in _messages(model):
        if isinstance(part, onnx.TensorProto) and (
            part.external_data or part.data_location == onnx.TensorProto.EXTERNAL
        ):
            raise UsageError(
                f"{path} refers to data in another file, {part.name}: graphs of this "
                "package hold their weights"
            )
        if isinstance(part, onnx.NodeProto) and part.domain not in _DOMAINS:
            if (part.domain, part.op_type) not in own:
                raise UsageError(
                    f"{path} uses the operator {part.domain}.{part.op_type}, which is "
                    "none of ONNX"
                )


def _messages(message):
    """A protocol buffer and all that it holds."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            single = hasattr(value, "ListFields")
            for item in [value] if single else value:
                yield from _messages(item)
