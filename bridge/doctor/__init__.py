"""``bridge doctor``: each thing that the bridge stands on, tried by a real call.

Knows settings and adapters; a part of the composition root. Must not know the services: it looks
at the bridge's surroundings, whether or not a bridge runs.
"""

from bridge.doctor.examination import examine
from bridge.doctor.report import as_json, as_table, failing

__all__ = ["as_json", "as_table", "examine", "failing"]
