"""Callers of one gateway, inside its host, until standard input ends. Prints what they got, as JSON.

python hosts_load.py URL CA TOKEN CALLERS PAUSE
"""

from __future__ import annotations

import collections
import json
import ssl
import sys
import threading
import time

import httpx

URL, CA, TOKEN, CALLERS, PAUSE = sys.argv[1:6]
over = threading.Event()
statuses: collections.Counter[str] = collections.Counter()
builds: collections.Counter[str] = collections.Counter()
last: dict[str, float] = {}
"""When each build answered last, in seconds since 1970: the hosts share a clock."""
lost: list[str] = []
lock = threading.Lock()


def call(caller: int) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=URL, verify=ssl.create_default_context(cafile=CA), headers=headers, timeout=30) as http:
        number = 0
        while not over.wait(float(PAUSE)):
            number += 1
            try:
                answer = http.post("/delays/predict", json=[{"x": 1.0}], headers={"x-user-id": f"{caller}-{number}"})
            except httpx.TransportError as error:
                with lock:
                    lost.append(repr(error))
                continue
            with lock:
                statuses[str(answer.status_code)] += 1
                if answer.status_code == 200:
                    build = answer.headers["x-sluice-build"]
                    builds[build] += 1
                    last[build] = time.time()


threads = [threading.Thread(target=call, args=(number,)) for number in range(int(CALLERS))]
for each in threads:
    each.start()
sys.stdin.read()
over.set()
for each in threads:
    each.join()
print(json.dumps({"statuses": statuses, "builds": builds, "last": last, "lost": lost}))
