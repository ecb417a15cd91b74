"""Callers in a process of their own: python callers.py URL SECONDS_AT_MOST. They ask until their input ends.

Prints what they saw as JSON: answers by status, errors, and how long answers took.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading

from tests.integration.traffic_load import Record, run_callers


def main() -> None:
    url, stop = sys.argv[1], threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    records = {protocol: Record() for protocol in ("http1", "http2")}
    asyncio.run(_both(url, records, stop))
    print(json.dumps({
        "requests": sum(record.total for record in records.values()),
        "failed": sum(record.failed for record in records.values()),
    }))  # fmt: skip


async def _both(url: str, records: dict[str, Record], stop: threading.Event) -> None:
    await asyncio.gather(
        *(run_callers(url, 2, record, stop, http2=name == "http2") for name, record in records.items())
    )


if __name__ == "__main__":
    main()
