"""Finds the type of a Protobuf message in a descriptor set of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass


def message_class(file: Path, name: str) -> Any:
    """The class of the messages called ``name``. Raises ValueError naming the file when they are not in it."""
    pool = DescriptorPool()
    try:
        for described in FileDescriptorSet.FromString(file.read_bytes()).file:
            pool.Add(described)
        return GetMessageClass(pool.FindMessageTypeByName(name))
    except (DecodeError, TypeError, KeyError) as error:
        raise ValueError(
            f"{file} is no descriptor set that holds {name}: {error}; "
            "write it with protoc --include_imports --descriptor_set_out"
        ) from error
