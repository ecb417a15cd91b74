"""Who a request comes from, and which variation of a model such requests are sent to."""
