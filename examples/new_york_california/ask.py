"""Requests a prediction for the same payment as three people; their metadata decide which model answers."""

from __future__ import annotations

from sluicegate import Client

PEOPLE: list[dict[str, str | int]] = [
    {"state": "New York", "age": 30},
    {"state": "New York", "age": 70},
    {"state": "California", "age": 70},
    {"state": "Texas", "age": 30},
]


def main() -> None:
    """Print one line for each person: which model answered, and how likely fraud is."""
    with Client() as client:
        for person in PEOPLE:
            answer = client.predict("fraud", [{"amount": 800.0}], metadata=person, unit="u-17")
            who = f"{person['state']}, {person['age']}"
            got = f"audience {answer.audience:10}  variation {answer.variation:7}  v{answer.build}"
            print(f"{who:14}  {got}  fraud {answer.values[0][1]:.2f}")


if __name__ == "__main__":
    main()
