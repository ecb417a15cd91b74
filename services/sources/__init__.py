"""Sources: single numbers measured by other systems, queried by PromQL, SQL or HTTP."""
