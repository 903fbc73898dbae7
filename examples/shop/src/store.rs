//! What the pages read and write, but for the order itself ([`crate::checkout`]).
//! Statements are plain: one that only reads says so to anyone who looks at it.

use crate::text;
use sqlx::{FromRow, PgPool};

/// A product as the catalogue shows it.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Product {
    pub(crate) id: i32,
    pub(crate) name: String,
    pub(crate) category: String,
    pub(crate) picture: String,
    pub(crate) blurb: String,
    pub(crate) description: String,
    pub(crate) price_cents: i64,
}

/// A line of a cart or of an order.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Line {
    pub(crate) product_id: i32,
    pub(crate) name: String,
    pub(crate) picture: String,
    pub(crate) category: String,
    pub(crate) quantity: i32,
    pub(crate) price_cents: i64,
}

impl Line {
    pub(crate) fn cents(&self) -> i64 {
        self.price_cents * i64::from(self.quantity)
    }
}

/// An order without its lines.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Order {
    pub(crate) id: i64,
    pub(crate) token: String,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) address: String,
    pub(crate) goods_cents: i64,
    pub(crate) shipping_cents: i64,
    pub(crate) placed_s: i64,
}

/// The whole catalogue, or one category of it.
pub(crate) async fn products(pool: &PgPool, category: Option<&str>) -> Result<Vec<Product>, sqlx::Error> {
    match category {
        Some(category) => {
            sqlx::query_as(
                "SELECT id, name, category, picture, blurb, description, price_cents
                 FROM products WHERE category = $1 ORDER BY id",
            )
            .bind(category)
            .fetch_all(pool)
            .await
        }
        None => {
            sqlx::query_as(
                "SELECT id, name, category, picture, blurb, description, price_cents
                 FROM products ORDER BY id",
            )
            .fetch_all(pool)
            .await
        }
    }
}

/// Products whose name, category or description holds the words, names first.
pub(crate) async fn search(pool: &PgPool, words: &str) -> Result<Vec<Product>, sqlx::Error> {
    sqlx::query_as(
        "SELECT id, name, category, picture, blurb, description, price_cents FROM products
         WHERE name ILIKE $1 OR category ILIKE $1 OR blurb ILIKE $1 OR description ILIKE $1
         ORDER BY CASE WHEN name ILIKE $1 THEN 0 ELSE 1 END, id LIMIT 60",
    )
    .bind(text::pattern(words))
    .fetch_all(pool)
    .await
}

/// One product.
pub(crate) async fn product(pool: &PgPool, id: i32) -> Result<Option<Product>, sqlx::Error> {
    sqlx::query_as(
        "SELECT id, name, category, picture, blurb, description, price_cents FROM products WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(pool)
    .await
}

/// How many things are in a cart.
pub(crate) async fn cart_count(pool: &PgPool, session: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT coalesce(sum(quantity), 0) FROM cart_items WHERE session_id = $1")
        .bind(session)
        .fetch_one(pool)
        .await
}

/// A cart's lines.
pub(crate) async fn cart(pool: &PgPool, session: &str) -> Result<Vec<Line>, sqlx::Error> {
    sqlx::query_as(
        "SELECT c.product_id, p.name, p.picture, p.category, c.quantity, p.price_cents
         FROM cart_items c JOIN products p ON p.id = c.product_id
         WHERE c.session_id = $1 ORDER BY c.product_id",
    )
    .bind(session)
    .fetch_all(pool)
    .await
}

/// Puts more of a product into a cart; false where there is no such product.
/// `request` names the visitor's request: done twice, it adds once.
pub(crate) async fn cart_add(
    pool: &PgPool,
    session: &str,
    product_id: i32,
    quantity: i32,
    request: &str,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "INSERT INTO cart_items (session_id, product_id, quantity, last_add, changed_s)
         SELECT $1, id, $3, $4, $5 FROM products WHERE id = $2
         ON CONFLICT (session_id, product_id) DO UPDATE SET
             quantity = CASE WHEN cart_items.last_add = excluded.last_add THEN cart_items.quantity
                             ELSE least(99, cart_items.quantity + excluded.quantity) END,
             last_add = excluded.last_add, changed_s = excluded.changed_s",
    )
    .bind(session)
    .bind(product_id)
    .bind(quantity)
    .bind(request)
    .bind(jiff::Timestamp::now().as_second())
    .execute(pool)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Sets a line's quantity; 0 removes it.
pub(crate) async fn cart_set(
    pool: &PgPool,
    session: &str,
    product_id: i32,
    quantity: i32,
) -> Result<(), sqlx::Error> {
    let query = if quantity == 0 {
        sqlx::query("DELETE FROM cart_items WHERE session_id = $1 AND product_id = $2")
            .bind(session)
            .bind(product_id)
    } else {
        sqlx::query(
            "UPDATE cart_items SET quantity = $3, changed_s = $4 WHERE session_id = $1 AND product_id = $2",
        )
        .bind(session)
        .bind(product_id)
        .bind(quantity)
        .bind(jiff::Timestamp::now().as_second())
    };
    query.execute(pool).await.map(|_| ())
}

/// An order and its lines, by the token of its address.
pub(crate) async fn order(pool: &PgPool, token: &str) -> Result<Option<(Order, Vec<Line>)>, sqlx::Error> {
    let order: Option<Order> = sqlx::query_as(
        "SELECT id, token, name, email, address, goods_cents, shipping_cents, placed_s
         FROM orders WHERE token = $1",
    )
    .bind(token)
    .fetch_optional(pool)
    .await?;
    let Some(order) = order else { return Ok(None) };
    let lines = sqlx::query_as(
        "SELECT i.product_id, i.name, p.picture, p.category, i.quantity, i.price_cents
         FROM order_items i JOIN products p ON p.id = i.product_id
         WHERE i.order_id = $1 ORDER BY i.product_id",
    )
    .bind(order.id)
    .fetch_all(pool)
    .await?;
    Ok(Some((order, lines)))
}

/// A session's latest hundred orders, the newest first.
pub(crate) async fn orders(pool: &PgPool, session: &str) -> Result<Vec<Order>, sqlx::Error> {
    sqlx::query_as(
        "SELECT id, token, name, email, address, goods_cents, shipping_cents, placed_s
         FROM orders WHERE session_id = $1 ORDER BY id DESC LIMIT 100",
    )
    .bind(session)
    .fetch_all(pool)
    .await
}
