"""How alpha is divided over slices of the traffic whose number is not known beforehand.

A guardrail that looks at slices asks K + 1 questions at once: is the whole worse, is a slice worse. Of K slices at most
(a bound on the values of each header) the one that appears as the k-th is tested with the chance

    alpha_k = alpha_slices / (k H_K),    H_K = 1 + 1/2 + ... + 1/K.

*Claim.* If the builds are alike, the chance that any of these tests ever rejects, at whatever look, is at most
alpha_slices. *Proof.* Condition on everything but the random assignment of each request, or unit, to its build: who
came when, with which headers, and with which result under either build. Which slice a request is in, and which slice is
the k-th, follows from that alone: both use the requests of both builds together, never their builds. So each slice is
tested at a level that does not depend on the assignment; its test, exact given its strata (`counts`), rejects at any
look with a chance of at most alpha_k; and by Bonferroni's inequality the chances add up to at most sum alpha_k <=
alpha_slices, however much slices overlap or depend on each other. That is true under every condition, so on average
too. A candidate that is better in some slices is still stopped for a slice in which it is not worse with no more than
that slice's alpha_k.

Weights that fall with the rank are fixed before the data, like the "alpha-death" and LORD rules of online testing
(Foster & Stine 2008; Javanmard & Montanari 2018) and the weighted Bonferroni of Holm 1979; 1 / k instead of their
1 / k^(1+e) because K is bounded. Large slices appear first, mostly; a slice pays log(k H_K) in the exponent of its
chance, so the fiftieth of 66 needs some half more requests than the third.
"""

from __future__ import annotations

from functools import cache
from math import fsum


@cache
def share_of_rank(rank: int, most: int) -> float:
    """The share of the slices' alpha for the slice that appeared as the rank-th (from 1) of at most `most`."""
    return 1 / (rank * fsum(1 / each for each in range(1, most + 1))) if 1 <= rank <= most else 0.0
