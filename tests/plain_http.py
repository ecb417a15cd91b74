"""Plain HTTP as tests ask it: no list of authorities is read for each question, which takes 25 ms of each look.

A machine under load is waited for; no connection is kept, as gateways count them.
"""

from __future__ import annotations

import httpx

_CLIENT = httpx.Client(
    verify=False, trust_env=False, timeout=20.0, limits=httpx.Limits(max_keepalive_connections=0)
)  # fmt: skip
get, post, request = _CLIENT.get, _CLIENT.post, _CLIENT.request
