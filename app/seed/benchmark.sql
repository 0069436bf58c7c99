-- Products, and orders of four items and a payment each. The sizes are the settings benchmark.products, benchmark.orders and
-- benchmark.shoppers. Every row of a table has a time of its own, a second after the one before; the newest order is a second old.
-- Ids are UUIDv7 of those times.

insert into config (key, value, description) values ('benchmark_data', '1', 'The version of the benchmark''s data in this database.');

create temporary table sizes on commit drop as
select
  current_setting('benchmark.products')::int as products,
  current_setting('benchmark.orders')::int as orders,
  current_setting('benchmark.shoppers')::int as shoppers;

create temporary table new_stores on commit drop as
select n, uuidv7(at - now()) as id, at
from (select n, now() - interval '60 days' + n * interval '1 second' as at from generate_series(1, 2) n) s;

create temporary table new_shoppers on commit drop as
select n, uuidv7(at - now()) as id, at
from (
  select n, now() - (orders + products + shoppers - n + 1) * interval '1 second' as at
  from sizes, generate_series(1, shoppers) n
) s;

create temporary table new_products on commit drop as
select n, uuidv7(at - now()) as id, at, (100 + (n * 37) % 9900)::numeric / 100 as price
from (
  select n, now() - (orders + products - n + 1) * interval '1 second' as at
  from sizes, generate_series(1, products) n
) s;

create temporary table new_orders on commit drop as
select
  n, uuidv7(at - now()) as id, uuidv7(at - now()) as payment_id, at,
  1 + n % shoppers as shopper,
  (array['PENDING', 'COMPLETED', 'CANCELLED', 'FAILED'])[1 + n % 4] as status
from (
  select n, shoppers, now() - (orders - n + 1) * interval '1 second' as at
  from sizes, generate_series(1, orders) n
) s;

-- Four different products: a quarter of the catalogue lies between one and the next.
create temporary table new_lines on commit drop as
select o.n as order_n, p.n as product_n, p.id as product_id, 1 + (o.n + k) % 3 as quantity, p.price
from sizes
cross join new_orders o
cross join generate_series(0, 3) k
join new_products p on p.n = 1 + (o.n * 7 + k * (sizes.products / 4)) % sizes.products;

analyze new_shoppers, new_products, new_orders, new_lines;

insert into stores (id, created_at, updated_at, name, domain)
select id, at, at, 'Benchmark store ' || n, 'benchmark-' || n || '.example.com' from new_stores order by n;

insert into store_settings (store_id, created_at, updated_at)
select id, at, at from new_stores order by n;

insert into users (id, created_at, updated_at, email, username, first_name, last_name, name, email_verified, role_id, role_assigned_at)
select
  s.id, s.at, s.at, 'user' || n || '@example.com', 'user' || n, 'First' || n, 'Last' || n, 'First' || n || ' Last' || n, true, r.id, s.at
from new_shoppers s, roles r
where r.name = 'USER'
order by n;

insert into products (id, created_at, updated_at, name, description, price, sku, image_url, category)
select
  id, at, at, 'Product ' || n, 'Description of product ' || n || repeat(' lorem ipsum', 10), price, 'SKU-' || lpad(n::text, 6, '0'),
  'https://cdn.example.com/p/' || n || '.jpg', 'category-' || n % 20
from new_products
order by n;

insert into product_stores (product_id, store_id, created_at)
select p.id, s.id, p.at from new_products p cross join new_stores s order by p.n, s.n;

insert into inventory (product_id, created_at, updated_at, on_hand, reserved)
select p.id, p.at, p.at, 100 + p.n % 400 + coalesce(sum(l.quantity), 0), coalesce(sum(l.quantity), 0)
from new_products p
left join (new_lines l join new_orders o on o.n = l.order_n and o.status = 'PENDING') on l.product_n = p.n
group by p.n, p.id, p.at
order by p.n;

-- Orders and payments refer to each other: one statement, whose foreign keys are checked at its end.
with new_totals as (select order_n, sum(quantity * price) as total from new_lines group by order_n),
placed as (
  insert into orders (
    id, created_at, updated_at, user_id, store_id, status, items_total, total, payment_method, payment_id,
    completed_at, cancelled_at, failed_at
  )
  select
    o.id, o.at, o.at, s.id, t.id, o.status, total, total, 'card', case when o.status = 'COMPLETED' then payment_id end,
    case when o.status = 'COMPLETED' then o.at end, case when o.status = 'CANCELLED' then o.at end, case when o.status = 'FAILED' then o.at end
  from new_orders o
  join new_totals on order_n = o.n
  join new_shoppers s on s.n = o.shopper
  join new_stores t on t.n = 1 + o.n % 2
  order by o.n
)
insert into payments (
  id, created_at, updated_at, order_id, amount, captured_amount, refunded_amount, status, provider, method, transaction_id,
  completed_at, refunded_at, failed_at, failure_code, failure_message
)
select
  payment_id, o.at, o.at, o.id, total, case when p.status in ('COMPLETED', 'REFUNDED') then total else 0 end,
  case when p.status = 'REFUNDED' then total else 0 end, p.status, 'test', 'card', 'tx-' || o.id,
  case when p.status in ('COMPLETED', 'REFUNDED') then o.at end, case when p.status = 'REFUNDED' then o.at end,
  case when p.status = 'FAILED' then o.at end, case when p.status = 'FAILED' then 'card_declined' end,
  case when p.status = 'FAILED' then 'The card was declined.' end
from new_orders o
join new_totals on order_n = o.n
cross join lateral (select case o.status when 'CANCELLED' then 'REFUNDED' else o.status end as status) p
order by o.n;

-- The lines of an order lie in the order of their products, in which its index gives them as well.
insert into order_items (id, created_at, updated_at, order_id, product_id, name, sku, quantity, price)
select uuidv7(at - now()), at, at, order_id, product_id, 'Product ' || product_n, 'SKU-' || lpad(product_n::text, 6, '0'), quantity, price
from (
  select o.at, o.id as order_id, l.* from new_lines l join new_orders o on o.n = l.order_n order by o.n, l.product_id
) s;

with numbered as (
  select id, store_id, row_number() over (partition by store_id order by created_at, id) as number from orders where number is null
),
counted as (insert into order_counters (store_id, last) select store_id, max(number) from numbered group by store_id)
update orders o set number = numbered.number from numbered where numbered.id = o.id;
