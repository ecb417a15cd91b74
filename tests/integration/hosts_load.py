"""Callers of one gateway, by the client and the variables that it reads, until standard input ends. Prints what they
got, as JSON.

python hosts_load.py MODEL ROW CALLERS PAUSE
"""

from __future__ import annotations

import collections
import json
import sys
import threading
import time

from sluicegate import Client, ClientError, Retries

MODEL, ROW, CALLERS, PAUSE = sys.argv[1:5]
over = threading.Event()
builds: collections.Counter[str] = collections.Counter()
last: dict[str, float] = {}
"""When each build answered last, in seconds since 1970: the hosts share a clock."""
failed: list[tuple[float, str]] = []
"""When a request came to nothing, and how."""
lock = threading.Lock()


def call(client: Client, caller: int) -> None:
    number = 0
    while not over.wait(float(PAUSE)):
        number += 1
        try:
            answer = client.predict(MODEL, [json.loads(ROW)], unit=f"{caller}-{number}")
        except ClientError as error:
            with lock:
                failed.append((time.time(), f"{type(error).__name__} {getattr(error, 'status', '')} {error}"))
            continue
        with lock:
            builds[answer.build] += 1
            last[answer.build] = time.time()


def told() -> str:
    with lock:
        return json.dumps({"builds": builds, "last": last, "failed": failed})


with Client(retries=Retries(attempts=1)) as asking:
    threads = [threading.Thread(target=call, args=(asking, number)) for number in range(int(CALLERS))]
    for each in threads:
        each.start()
    for _ in sys.stdin:
        print(told(), flush=True)
    over.set()
    for each in threads:
        each.join()
print(told())
