"""The contract between the QGIS half and the engine: dataclasses, their JSON form and error codes.

Both halves import this package and nothing of each other. It uses the standard library only and
Python 3.9 syntax.
"""

PROTOCOL_VERSION = 2
PLUGIN_VERSION = "0.1.0"
