"""docs/reference/log.md: the fields of the access log, from the module that reads it."""

from __future__ import annotations

import inspect

from docs.pages.tables import NOTICE, code, fields, table
from sluicegate.registry.words import access_log
from sluicegate.registry.words.access_log import Assigned, LogLine, Place
from sluicegate.services.traffic.envoy.log_format import field_formats


def page() -> str:
    """The whole page."""
    _, _, layout = inspect.cleandoc(access_log.__doc__ or "").partition("\n\n")
    rows = [(code(key), code(value)) for key, value in field_formats("live").items()]
    return f"""{NOTICE}
# Access log

Envoy writes one JSON object a line for each request: `envoy/logs/live.jsonl` in the state folder for callers,
`envoy/logs/shadow.jsonl` for copies that only a shadow saw. The collector reads each line exactly once. What it
cannot read is set aside and counted, never dropped.

```text
{layout.rstrip()}
```

## What Envoy puts there

{table(("key", "Envoy's format"), rows)}
## What `assigned` says

`;` between its parts, each percent-encoded.

{fields(Assigned)}
## What `route` says

{fields(Place)}
## What a line is read as

{fields(LogLine)}"""
