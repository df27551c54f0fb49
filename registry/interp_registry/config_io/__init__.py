"""Read, layer, check and write configurations.

Layers, later ones winning: the defaults in the code, configuration files in the order given (each may name a ``base:``), options of
the command line. All layers are merged as plain dictionaries, checked against the configuration class with suggestions for
misspelt names, and decoded once by draccus. Every value remembers which layer set it.
"""

from interp_registry.config_io.decoding import decode, encode
from interp_registry.config_io.resolve import Override, Resolved, resolve
from interp_registry.config_io.schema import FieldSchema, choice_root, fields_of, help_texts
from interp_registry.config_io.yaml_files import dump_yaml, read_layers, read_yaml

__all__ = [
    "FieldSchema",
    "Override",
    "Resolved",
    "choice_root",
    "decode",
    "dump_yaml",
    "encode",
    "fields_of",
    "help_texts",
    "read_layers",
    "read_yaml",
    "resolve",
]
