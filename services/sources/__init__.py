"""Sources: what other systems measure, asked one number at a time, by PromQL, SQL or HTTP."""
