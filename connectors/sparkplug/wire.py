"""The Sparkplug B messages on the wire (Sparkplug 3.0.0, section 6.4): field numbers and types, nothing else.

The protobuf library does the coding; its descriptors are built here from one table, so that neither a generated module
nor a compiler is needed. Only numbers and types are on the wire, so what the published definition nests is flat here.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_PACKAGE = "gridtape.sparkplug"
# name, type, number; a type in capitals is a message, * before it: repeated, | before it: member of the oneof "value".
_MESSAGES = {
    "Payload": "timestamp uint64 1, metrics *Metric 2, seq uint64 3, uuid string 4, body bytes 5",
    "Metric": (
        "name string 1, alias uint64 2, timestamp uint64 3, datatype uint32 4, is_historical bool 5, "
        "is_transient bool 6, is_null bool 7, properties PropertySet 9, int_value |uint32 10, long_value |uint64 11, "
        "float_value |float 12, double_value |double 13, boolean_value |bool 14, string_value |string 15, "
        "bytes_value |bytes 16, dataset_value |DataSet 17, template_value |Template 18"
    ),
    "PropertySet": "keys *string 1, values *PropertyValue 2",
    "PropertyValue": (
        "type uint32 1, is_null bool 2, int_value |uint32 3, long_value |uint64 4, float_value |float 5, "
        "double_value |double 6, boolean_value |bool 7, string_value |string 8, propertyset_value |PropertySet 9, "
        "propertysets_value |PropertySetList 10"
    ),
    "PropertySetList": "propertyset *PropertySet 1",
    "DataSet": "num_of_columns uint64 1, columns *string 2, types *uint32 3, rows *Row 4",
    "Row": "elements *Element 1",
    "Element": (
        "int_value |uint32 1, long_value |uint64 2, float_value |float 3, double_value |double 4, "
        "boolean_value |bool 5, string_value |string 6"
    ),
    "Template": "version string 1, metrics *Metric 2, template_ref string 4, is_definition bool 5",
}


def _classes() -> dict[str, Any]:
    file = FileDescriptorProto(name="gridtape/sparkplug.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields.split(", "):
            field_name, kind, number = text.split()
            field = message.field.add(name=field_name, number=int(number))
            field.label = field.LABEL_REPEATED if kind.startswith("*") else field.LABEL_OPTIONAL
            if kind.startswith("|"):
                if not message.oneof_decl:
                    message.oneof_decl.add(name="value")
                field.oneof_index = 0
            kind = kind.lstrip("*|")
            if kind[0].isupper():
                field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES}


_BY_NAME = _classes()
Payload: Any = _BY_NAME["Payload"]
"""The class of a payload; its parts are made through it: ``payload.metrics.add(name=…)``."""
