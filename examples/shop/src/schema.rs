//! The tables, and how they come to be. Each migration is a list of statements;
//! all outstanding ones run in one transaction under one advisory lock, so two
//! instances that start at once do not meet.

use crate::catalogue::PRODUCTS;
use sqlx::PgPool;

/// Any number that no other program uses in this database: "shop" in ASCII.
const LOCK: i64 = 0x7368_6f70;

const MIGRATIONS: &[&[&str]] = &[&[
    "CREATE TABLE products (
        id           integer PRIMARY KEY,
        name         text NOT NULL,
        category     text NOT NULL,
        picture      text NOT NULL,
        blurb        text NOT NULL,
        description  text NOT NULL,
        price_cents  bigint NOT NULL CHECK (price_cents > 0)
    )",
    // `last_add` is the request that last added to the line: the same request
    // done again (see `Database::run`) adds nothing.
    "CREATE TABLE cart_items (
        session_id   text NOT NULL,
        product_id   integer NOT NULL REFERENCES products,
        quantity     integer NOT NULL CHECK (quantity BETWEEN 1 AND 99),
        last_add     text NOT NULL,
        changed_s    bigint NOT NULL,
        PRIMARY KEY (session_id, product_id)
    )",
    "CREATE INDEX cart_items_changed ON cart_items (changed_s)",
    // `checkout_key` comes with the form: one form, one order. `token` is the
    // order's address, and cannot be guessed.
    "CREATE TABLE orders (
        id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        token          text NOT NULL UNIQUE,
        session_id     text NOT NULL,
        checkout_key   text NOT NULL UNIQUE,
        name           text NOT NULL,
        email          text NOT NULL,
        address        text NOT NULL,
        goods_cents    bigint NOT NULL,
        shipping_cents bigint NOT NULL,
        placed_s       bigint NOT NULL
    )",
    "CREATE INDEX orders_session ON orders (session_id, id)",
    "CREATE TABLE order_items (
        order_id     bigint NOT NULL REFERENCES orders,
        product_id   integer NOT NULL REFERENCES products,
        name         text NOT NULL,
        quantity     integer NOT NULL,
        price_cents  bigint NOT NULL,
        PRIMARY KEY (order_id, product_id)
    )",
]];

/// Runs what is outstanding, and brings the catalogue up to date.
pub(crate) async fn migrate(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS schema_versions (version integer PRIMARY KEY)")
        .execute(&mut *tx)
        .await?;
    let done: i32 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM schema_versions")
        .fetch_one(&mut *tx)
        .await?;
    for (version, statements) in (1i32..).zip(MIGRATIONS).filter(|(version, _)| *version > done) {
        for statement in *statements {
            sqlx::raw_sql(*statement).execute(&mut *tx).await?;
        }
        sqlx::query("INSERT INTO schema_versions (version) VALUES ($1)")
            .bind(version)
            .execute(&mut *tx)
            .await?;
    }
    for product in PRODUCTS {
        // The last line writes nothing where nothing changed: a restart is no load on the replicas.
        sqlx::query(
            "INSERT INTO products (id, name, category, picture, blurb, description, price_cents)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, category = excluded.category,
                 picture = excluded.picture, blurb = excluded.blurb, description = excluded.description,
                 price_cents = excluded.price_cents
             WHERE (products.name, products.category, products.picture, products.blurb, products.description, products.price_cents)
                 IS DISTINCT FROM (excluded.name, excluded.category, excluded.picture, excluded.blurb, excluded.description, excluded.price_cents)",
        )
        .bind(product.id)
        .bind(product.name)
        .bind(product.category)
        .bind(product.picture)
        .bind(product.blurb)
        .bind(product.description)
        .bind(product.price_cents)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await
}

/// Removes carts that nobody has touched for thirty days.
pub(crate) async fn tidy(pool: &PgPool) -> Result<(), sqlx::Error> {
    let oldest = jiff::Timestamp::now().as_second() - 30 * 24 * 3600;
    sqlx::query("DELETE FROM cart_items WHERE changed_s < $1").bind(oldest).execute(pool).await?;
    Ok(())
}
