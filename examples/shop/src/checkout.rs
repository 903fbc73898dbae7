//! The one thing a shop must not get wrong.
//!
//! An order is one transaction: the order, its lines, and the cart emptied. The
//! form carries a random `checkout_key`, unique in the table of orders. A visitor
//! who sends the form twice, a proxy or this shop doing it again because an answer
//! was lost: all find the one order that the key has. Two forms of one cart sent
//! at once are two keys, but only one of them finds the cart full.

use crate::session;
use crate::store::Line;
use sqlx::{PgPool, Row as _};

/// Where to send it, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Customer {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) address: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The order's token; `new` where this call placed it, not one before.
    Placed { token: String, new: bool },
    /// Nothing is in the cart.
    Empty,
    /// The cart no longer costs what the visitor was shown.
    Changed,
}

/// What sending goods costs: nothing from €60.
pub(crate) fn shipping_cents(goods_cents: i64) -> i64 {
    if goods_cents == 0 || goods_cents >= 60_00 { 0 } else { 4_90 }
}

/// The cost of a cart's goods.
pub(crate) fn goods_cents(lines: &[Line]) -> i64 {
    lines.iter().map(Line::cents).sum()
}

/// Orders what is in the cart. Returns only after COMMIT; where the error says
/// that the connection broke, call again with the same key.
pub(crate) async fn place(
    pool: &PgPool,
    session: &str,
    checkout_key: &str,
    customer: &Customer,
    shown_cents: i64,
) -> Result<Outcome, sqlx::Error> {
    let mut tx = pool.begin().await?;
    // A transaction with the same key that is still running makes this wait for it.
    let placed = sqlx::query(
        "INSERT INTO orders (token, session_id, checkout_key, name, email, address, goods_cents, shipping_cents, placed_s)
         VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7) ON CONFLICT (checkout_key) DO NOTHING RETURNING id, token",
    )
    .bind(session::random_token())
    .bind(session)
    .bind(checkout_key)
    .bind(&customer.name)
    .bind(&customer.email)
    .bind(&customer.address)
    .bind(jiff::Timestamp::now().as_second())
    .fetch_optional(&mut *tx)
    .await?;
    let Some(placed) = placed else {
        // The same form again. The session is part of the question: a key is no way into another's order.
        let before =
            sqlx::query_scalar("SELECT token FROM orders WHERE checkout_key = $1 AND session_id = $2")
                .bind(checkout_key)
                .bind(session)
                .fetch_optional(&mut *tx)
                .await?;
        tx.rollback().await?;
        return Ok(before.map_or(Outcome::Empty, |token| Outcome::Placed { token, new: false }));
    };
    let order_id: i64 = placed.try_get("id")?;
    let token: String = placed.try_get("token")?;

    // Taking the lines out of the cart is what makes them ours: whoever comes second finds none.
    let lines: Vec<Line> = sqlx::query_as(
        "DELETE FROM cart_items c USING products p WHERE c.session_id = $1 AND p.id = c.product_id
         RETURNING c.product_id, p.name, p.picture, p.category, c.quantity, p.price_cents",
    )
    .bind(session)
    .fetch_all(&mut *tx)
    .await?;
    let goods = goods_cents(&lines);
    if lines.is_empty() || goods + shipping_cents(goods) != shown_cents {
        tx.rollback().await?;
        return Ok(if lines.is_empty() { Outcome::Empty } else { Outcome::Changed });
    }
    for line in &lines {
        sqlx::query(
            "INSERT INTO order_items (order_id, product_id, name, quantity, price_cents) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(order_id)
        .bind(line.product_id)
        .bind(&line.name)
        .bind(line.quantity)
        .bind(line.price_cents)
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query("UPDATE orders SET goods_cents = $2, shipping_cents = $3 WHERE id = $1")
        .bind(order_id)
        .bind(goods)
        .bind(shipping_cents(goods))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Outcome::Placed { token, new: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipping_is_free_from_sixty_euros() {
        for (goods, expected) in [(0, 0), (1, 490), (5_999, 490), (6_000, 0), (1_000_000, 0)] {
            assert_eq!(shipping_cents(goods), expected, "{goods}");
        }
    }
}
