"""Rollout rows: one for each rollout, by which it is found without reading the facts of all others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, exists, func, insert, or_, select, true, update

from sluicegate.registry.ledger.columns import entry_of
from sluicegate.registry.ledger.selection import SEARCHED, Selection, state_of
from sluicegate.registry.ledger.tables import entries, rollouts
from sluicegate.registry.ledger.times import from_text, to_text
from sluicegate.registry.rollout.moves import advance, begin
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import KEPT_TAKEOVERS, Takeover, is_open, took_over_at

_AT_ONCE = 200
"""How many rollouts' facts are read with one query."""


@dataclass(frozen=True, kw_only=True)
class Folded:
    """The state of a rollout, and the places of its first and last fact."""

    first: int
    last: int
    state: Rollout


def write_rows(connection: Connection, changed: Iterable[tuple[Rollout, int]]) -> None:
    """Write the rows of changed rollouts. `changed`: states in the order of their facts, each with its fact's place. A
    rollout's first fact adds its row."""
    changed = list(changed)
    first = {state.id: place for state, place in changed if state.seq == 0}
    last = {state.id: _columns(state, place) for state, place in changed}
    for is_holding in (False, True):  # first rollouts that gave up their target, then those that hold it now
        rows = {name: row for name, row in last.items() if row["holding"] is is_holding}
        new = [{"rollout": name, "place": first[name], **row} for name, row in rows.items() if name in first]
        existing = [{"its": name, **row} for name, row in rows.items() if name not in first]
        for statement, written in ((_NEW_ROW, new), (_NEXT_ROW, existing)):
            if written:
                connection.execute(statement, written)


_NEW_ROW = insert(rollouts)
_NEXT_ROW = update(rollouts).where(rollouts.c.rollout == bindparam("its"))


def _columns(state: Rollout, last: int) -> dict[str, object]:
    requested = state.requested
    return {
        "last": last,
        "model": requested.model,
        "variation": requested.variation,
        "version": requested.version,
        "strategy": requested.strategy,
        "plan_digest": requested.plan_digest,
        "experiment": requested.experiment,
        "follows": requested.follows,
        "state": state_of(state),
        "reason": state.reason,
        "open": is_open(state),
        "holding": state.holds_target,
        "took_over_at": to_text(took_over_at(state)) if state.took_over else None,
        "ended_at": to_text(state.ended_at) if state.ended_at is not None else None,
    }


def write_all_rows(connection: Connection) -> None:
    """Write the row of every rollout that has facts."""
    for folded in _fold(connection.execute(select(entries).order_by(entries.c.id))):
        row = {"rollout": folded.state.id, "place": folded.first, **_columns(folded.state, folded.last)}
        connection.execute(_NEW_ROW, row)


def row_faults(connection: Connection) -> Iterator[str]:
    """Differences between the table and the facts, which are known to be as they were written."""
    opened = select(entries.c.rollout).where(entries.c.seq == 0).order_by(entries.c.id)
    rows = {row["rollout"]: row for row in connection.execute(select(rollouts)).mappings()}
    for folded in read_states(connection, list(connection.scalars(opened))):
        row = rows.pop(folded.state.id, None)
        if row is None:
            yield f"rollout {folded.state.id} has facts, but no row in the table of rollouts"
            continue
        expected = {"place": folded.first, **_columns(folded.state, folded.last)}
        for name, value in expected.items():
            if row[name] != value:
                yield f"rollout {folded.state.id}: its row says {name} {row[name]}, but its facts say {value}"
    yield from (f"rollout {name} has a row in the table of rollouts, but no facts" for name in rows)


def read_states(connection: Connection, names: Sequence[str]) -> Iterator[Folded]:
    """These rollouts, if they are on record. Those read with one query come oldest first."""
    for start in range(0, len(names), _AT_ONCE):
        is_in_batch = entries.c.rollout.in_(names[start : start + _AT_ONCE])
        yield from _fold(connection.execute(select(entries).where(is_in_batch).order_by(entries.c.id)))


def _fold(rows: Iterable[Row[tuple[object, ...]]]) -> Iterable[Folded]:
    folds: dict[str, Folded] = {}
    for row in rows:
        entry, before = entry_of(row), folds.get(row.rollout)
        first, state = (row.id, begin(entry)) if before is None else (before.first, advance(before.state, entry))
        folds[row.rollout] = Folded(first=first, last=row.id, state=state)
    return folds.values()


def current_ids(connection: Connection) -> list[str]:
    """The rollouts on which something may depend, oldest first. `past` decides finally."""
    latest = (
        select(
            rollouts.c.rollout,
            func.row_number()
            .over(
                partition_by=(rollouts.c.model, rollouts.c.variation),
                order_by=(rollouts.c.took_over_at.desc(), rollouts.c.place.desc()),
            )
            .label("back"),
        )
        .where(rollouts.c.took_over_at.is_not(None))
        .subquery()
    )
    trusted = select(latest.c.rollout).where(latest.c.back <= KEPT_TAKEOVERS)
    compared = select(rollouts.c.experiment).where(rollouts.c.open, rollouts.c.experiment.is_not(None))
    is_current = or_(rollouts.c.open, rollouts.c.rollout.in_(trusted), rollouts.c.experiment.in_(compared))
    return list(connection.scalars(select(rollouts.c.rollout).where(is_current).order_by(rollouts.c.place)))


def selected_ids(connection: Connection, selection: Selection) -> list[str]:
    """The ids of the rollouts that the selection admits, the first opened or ended first. Raises NotFound for an
    unknown `before`."""
    _refuse_unknown(connection, selection)
    newest = (
        select(rollouts.c.rollout)
        .where(*_conditions(selection))
        .order_by(*(column.desc() for column in _order(selection)))
    )
    limited = newest if selection.newest is None else newest.limit(selection.newest)
    return list(connection.scalars(limited))[::-1]


def _order(selection: Selection) -> tuple[ColumnElement[Any], ...]:
    """The order in which rollouts were opened, or in which they ended if they are selected by that. If they are
    selected by their last fact, the order is a sum, which no index has: otherwise the database would scan all rollouts
    from the newest on."""
    if selection.ended_since is not None:
        return rollouts.c.ended_at, rollouts.c.place
    return (rollouts.c.place + 0 if selection.changed_after is not None else rollouts.c.place,)


def count_selected(connection: Connection, selection: Selection, most: int | None = None) -> int:
    """How many rollouts the selection admits; counts no further than `most`."""
    _refuse_unknown(connection, selection)
    wanted = select(rollouts.c.rollout).where(*_conditions(selection)).limit(most).subquery()
    return int(connection.execute(select(func.count()).select_from(wanted)).scalar_one())


def all_models(connection: Connection) -> tuple[str, ...]:
    """Every model that has a rollout, by name."""
    return _models(connection, true())


def compared_models(connection: Connection) -> tuple[str, ...]:
    """Every model that had an experiment, by name."""
    return _models(connection, rollouts.c.experiment.is_not(None))


def _models(connection: Connection, is_wanted: ColumnElement[bool]) -> tuple[str, ...]:
    """The models, by jumping in the index from one name to the next, past all rollouts of a model."""
    first = select(func.min(rollouts.c.model).label("model")).where(is_wanted).cte("names", recursive=True)
    following = select(func.min(rollouts.c.model)).where(is_wanted, rollouts.c.model > first.c.model).scalar_subquery()
    names = first.union_all(select(following).where(first.c.model.is_not(None)))
    return tuple(connection.scalars(select(names.c.model).where(names.c.model.is_not(None))))


def is_of_model(rollout: ColumnElement[str], model: str) -> ColumnElement[bool]:
    """Whether the rollout with this id belongs to a model."""
    return exists().where(rollouts.c.rollout == rollout, rollouts.c.model == model)


def all_takeovers(connection: Connection, model: str, variation: str) -> tuple[Takeover, ...]:
    """Every build that a target began to trust, oldest first."""
    wanted = (rollouts.c.model == model, rollouts.c.variation == variation, rollouts.c.took_over_at.is_not(None))
    rows = connection.execute(select(rollouts).where(*wanted).order_by(rollouts.c.took_over_at, rollouts.c.place))
    return tuple(
        Takeover(rollout=row.rollout, version=row.version, strategy=row.strategy, at=from_text(row.took_over_at))
        for row in rows
    )


def _refuse_unknown(connection: Connection, selection: Selection) -> None:
    if selection.before is not None:
        place = select(rollouts.c.place).where(rollouts.c.rollout == selection.before)
        selection.refuse_unknown(is_known=connection.execute(place).first() is not None)


def _conditions(selection: Selection) -> Iterator[ColumnElement[bool]]:
    """The conditions of `Selection.admits`, and those that depend on the order in which rollouts were opened."""
    columns = rollouts.c
    yield from _named(selection)
    for column in ("model", "variation", "version", "plan_digest", "experiment", "follows"):
        if getattr(selection, column) is not None:
            yield columns[column] == getattr(selection, column)
    if selection.state is not None:  # a model has fewer rollouts than a state, so that index must not be used
        yield (columns.state if selection.model is None else columns.state + "") == selection.state
    if selection.comparisons:
        yield columns.experiment.is_not(None)
    if selection.took_over:
        yield columns.took_over_at.is_not(None)
    if selection.is_ended is not None:
        yield columns.ended_at.is_not(None) if selection.is_ended else columns.ended_at.is_(None) & columns.open
    if selection.ended_since is not None:
        yield columns.ended_at >= to_text(selection.ended_since)
    if selection.changed_after is not None:
        yield columns.last > selection.changed_after
    if selection.before is not None:
        yield columns.place < _place_of(selection.before)


def _named(selection: Selection) -> Iterator[ColumnElement[bool]]:
    """Whether the rollout is one of the ids, contains the text, and is new enough to be searched for it."""
    columns = rollouts.c
    if selection.ids is not None:
        yield columns.rollout.in_(selection.ids)
    if selection.text:
        searched = func.lower(columns.rollout + " " + columns.variation + " " + columns.reason)
        yield searched.contains(selection.text.lower(), autoescape=True)
        yield columns.place >= _searched_from(selection)


def _searched_from(selection: Selection) -> ColumnElement[int]:
    """The place of the oldest rollout that is searched for a text."""
    searched = select(rollouts.c.place).order_by(rollouts.c.place.desc()).limit(SEARCHED)
    if selection.model is not None:
        searched = searched.where(rollouts.c.model == selection.model)
    if selection.before is not None:
        searched = searched.where(rollouts.c.place < _place_of(selection.before))
    oldest = searched.subquery()
    return select(func.min(oldest.c.place)).scalar_subquery()


def _place_of(rollout: str) -> ColumnElement[int]:
    return select(rollouts.c.place).where(rollouts.c.rollout == rollout).scalar_subquery()
