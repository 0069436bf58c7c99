"""What makes the ledger of stock true in the database itself, so that no statement, whoever sends it, can part the two.

- A movement that is added moves what is on hand: repositories write movements, and the stock follows.
- A stock that is written directly (a bulk load, an administrator's SQL) adds the movement that explains it.
- Movements are neither altered nor removed, except with their inventory, or where a row that they name goes.

Each trigger looks at `pg_trigger_depth()`: it acts on what a statement does, not on what another trigger does in answer to it. A row that
does not change `on_hand` fires none of them, so reservations pay nothing.
"""

from typing import Final

from sqlalchemy import DDL, Table, event

FUNCTIONS: Final = (
    """create function follow_inventory_movement() returns trigger language plpgsql as $$
begin
    update inventory set on_hand = on_hand + new.quantity, updated_at = now() where id = new.inventory_id;
    return null;
end $$""",
    """create function record_inventory_movement() returns trigger language plpgsql as $$
begin
    insert into inventory_movements (inventory_id, kind, quantity, reason) values (
        new.id, 'ADJUSTMENT', new.on_hand - coalesce(old.on_hand, 0), case tg_op when 'INSERT' then 'initial stock' else 'direct change' end
    );
    return null;
end $$""",
    """create function refuse_inventory_movement_change() returns trigger language plpgsql as $$
begin
    if tg_op <> 'TRUNCATE' or exists (select from inventory where on_hand <> 0) then
        raise exception 'inventory movements are never changed' using errcode = 'restrict_violation';
    end if;
    return null;
end $$""",
)
TRIGGERS: Final = (
    """create trigger stock_follows after insert on inventory_movements
    for each row when (pg_trigger_depth() = 0) execute function follow_inventory_movement()""",
    """create trigger movements_stay before update or delete on inventory_movements
    for each row when (pg_trigger_depth() = 0) execute function refuse_inventory_movement_change()""",
    """create trigger movements_stay_whole after truncate on inventory_movements
    for each statement execute function refuse_inventory_movement_change()""",
    """create trigger first_stock_is_recorded after insert on inventory
    for each row when (new.on_hand <> 0 and pg_trigger_depth() = 0) execute function record_inventory_movement()""",
    """create trigger stock_is_recorded after update of on_hand on inventory
    for each row when (new.on_hand <> old.on_hand and pg_trigger_depth() = 0) execute function record_inventory_movement()""",
)


def keep_ledger(movements: Table) -> None:
    """Have the triggers made with the table."""
    for statement in FUNCTIONS + TRIGGERS:
        event.listen(movements, "after_create", DDL(statement))  # type: ignore[no-untyped-call]
