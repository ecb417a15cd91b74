"""Receipts of orders: an order that is sent again gets the receipt of the first time."""

from __future__ import annotations

from dataclasses import replace

from pydantic import TypeAdapter

from sluicegate.registry.ledger.record import OrderKey, Receipt
from sluicegate.registry.words.errors import UsageError

_RECEIPT = TypeAdapter(Receipt)


def repeated(key: OrderKey, digest: str, receipt: Receipt) -> Receipt:
    """The receipt of the first order with this key. Raises UsageError if that was another order."""
    if digest != key.digest:
        raise UsageError(
            f"the idempotency key {key.key!r} was used for another order already.",
            fix="choose a new key for each order.",
        )
    return replace(receipt, repeated=True)


def receipt_to_json(receipt: Receipt) -> str:
    """The receipt as JSON text."""
    return _RECEIPT.dump_json(receipt).decode()


def receipt_from_json(text: str) -> Receipt:
    """The receipt that `receipt_to_json` wrote."""
    return _RECEIPT.validate_json(text)
