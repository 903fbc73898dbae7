//! The pages. `maud` escapes whatever is put into them.

use crate::catalogue::CATEGORIES;
use crate::checkout::{Customer, goods_cents, shipping_cents};
use crate::session::random_token;
use crate::store::{Line, Order, Product};
use crate::text::{date, euros};
use maud::{DOCTYPE, Markup, html};

/// What the form on the cart page shows besides the cart.
pub(crate) struct Form {
    pub(crate) customer: Customer,
    /// Field and what is wrong with it.
    pub(crate) problems: Vec<(&'static str, &'static str)>,
    pub(crate) notice: Option<&'static str>,
    added: Option<i32>,
    checkout_key: String,
}

impl Form {
    /// An empty one with a key of its own; `added` is the product just put into the cart.
    pub(crate) fn fresh(added: Option<i32>) -> Self {
        let customer = Customer { name: String::new(), email: String::new(), address: String::new() };
        Self { customer, problems: Vec::new(), notice: None, added, checkout_key: random_token() }
    }

    fn problem(&self, field: &str) -> Option<&'static str> {
        self.problems.iter().find(|(name, _)| *name == field).map(|(_, what)| *what)
    }
}

/// What is wrong with where to send an order.
pub(crate) fn problems(customer: &Customer) -> Vec<(&'static str, &'static str)> {
    let mut problems = Vec::new();
    if customer.name.chars().count() < 2 {
        problems.push(("name", "Please tell us your name."));
    }
    // Whether an address exists, only a letter to it shows; this finds slips of the finger.
    let plausible = customer.email.split_once('@').is_some_and(|(who, host)| {
        !who.is_empty()
            && host.contains('.')
            && !host.starts_with('.')
            && !host.ends_with('.')
            && !host.contains('@')
            && !customer.email.contains(char::is_whitespace)
    });
    if !plausible {
        problems.push(("email", "An e-mail address looks like name@example.com."));
    }
    if customer.address.chars().count() < 8 {
        problems.push(("address", "Please give street, postcode and town."));
    }
    problems
}

fn layout(title: &str, count: Option<i64>, words: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · La Halle" }
                link rel="icon" href="/assets/favicon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/style.css";
            }
            body {
                a.skip href="#main" { "Skip to the goods" }
                header.top {
                    a.brand href="/" { span.mark aria-hidden="true" {} span { "La Halle" } }
                    form.search action="/search" role="search" {
                        label.hidden for="q" { "Search the catalogue" }
                        input #q name="q" type="search" value=(words) placeholder="Search: tea, knife, linen…"
                            maxlength="100" autocomplete="off";
                        button type="submit" { "Search" }
                    }
                    nav.own aria-label="Yours" {
                        a href="/orders" { "Orders" }
                        a.basket href="/cart" {
                            "Cart"
                            @if let Some(count) = count {
                                span.count { (count) } span.hidden { (plural(count, " thing", " things")) }
                            }
                        }
                    }
                }
                main #main { (body) }
                footer.bottom {
                    p { "La Halle keeps goods for table, kitchen and garden. Shipping is free from €60." }
                    p.quiet { "A demonstration: nothing is sold, nobody is charged." }
                }
            }
        }
    }
}

fn plural<'a>(n: i64, one: &'a str, many: &'a str) -> &'a str {
    if n == 1 { one } else { many }
}

/// The catalogue, whole or one category.
pub(crate) fn home(count: i64, category: Option<&str>, products: &[Product]) -> Markup {
    let title = category.unwrap_or("Everything for table, kitchen and garden");
    let body = html! {
        @if category.is_none() {
            section.hero {
                h1 { "Good things, " em { "plainly made" } }
                p { "Forty-two things we use ourselves, from the stoneware bowl to the tomato seeds beside it." }
            }
        } @else {
            h1 { (title) }
        }
        nav.categories aria-label="Categories" {
            a href="/" aria-current=[category.is_none().then_some("page")] { "All" }
            @for (name, tone) in CATEGORIES {
                a class={ "tone-" (tone) } href={ "/?category=" (name) }
                    aria-current=[(category == Some(name)).then_some("page")] { (name) }
            }
        }
        (grid(products, 2))
    };
    layout(title, Some(count), "", &body)
}

/// What a search found.
pub(crate) fn search(count: i64, words: &str, products: &[Product]) -> Markup {
    let body = html! {
        h1 { "“" (words) "”" }
        p.lead role="status" {
            @match products.len() {
                0 => { "Nothing in the catalogue matches. A shorter word often does; or " a href="/" { "look at everything" } "." }
                n => { (n) (plural(n as i64, " thing", " things")) " found." }
            }
        }
        (grid(products, 2))
    };
    layout(&format!("Search: {words}"), Some(count), words, &body)
}

fn grid(products: &[Product], level: u8) -> Markup {
    html! {
        ul.grid role="list" {
            @for product in products {
                li.card {
                    a.picture tabindex="-1" aria-hidden="true" href={ "/product/" (product.id) } {
                        (picture(&product.picture, &product.category))
                    }
                    @if level == 2 { h2 { a href={ "/product/" (product.id) } { (product.name) } } }
                    @else { h3 { a href={ "/product/" (product.id) } { (product.name) } } }
                    p.blurb { (product.blurb) }
                    div.buy {
                        span.price { (euros(product.price_cents)) }
                        form method="post" action="/cart/add" {
                            input type="hidden" name="product" value=(product.id);
                            button type="submit" { "Add" span.hidden { " " (product.name) " to the cart" } }
                        }
                    }
                }
            }
        }
    }
}

fn picture(name: &str, category: &str) -> Markup {
    let tone = CATEGORIES.iter().find(|(c, _)| *c == category).map_or("plain", |(_, tone)| tone);
    html! {
        span class={ "frame tone-" (tone) } {
            img src={ "/assets/products/" (name) ".svg" } alt="" width="200" height="200" loading="lazy";
        }
    }
}

/// One product.
pub(crate) fn product(count: i64, product: &Product, alike: &[Product]) -> Markup {
    let others: Vec<Product> = alike.iter().filter(|p| p.id != product.id).take(4).cloned().collect();
    let body = html! {
        nav.crumbs aria-label="You are here" {
            a href="/" { "Catalogue" } span aria-hidden="true" { "›" }
            a href={ "/?category=" (product.category) } { (product.category) }
        }
        article.product {
            (picture(&product.picture, &product.category))
            div {
                h1 { (product.name) }
                p.lead { (product.blurb) }
                p { (product.description) }
                p.price.large { (euros(product.price_cents)) }
                form.add method="post" action="/cart/add" {
                    input type="hidden" name="product" value=(product.id);
                    label for="quantity" { "Quantity" }
                    input #quantity name="quantity" type="number" min="1" max="99" value="1" inputmode="numeric";
                    button.primary type="submit" { "Add to cart" }
                }
                p.quiet { "Leaves our storeroom within two days. Thirty days to change your mind." }
            }
        }
        @if !others.is_empty() {
            section.more { h2 { "Also for " (product.category.to_lowercase()) } (grid(&others, 3)) }
        }
    };
    layout(&product.name, Some(count), "", &body)
}

/// The cart, and the form that orders it.
pub(crate) fn cart(lines: &[Line], form: &Form) -> Markup {
    let count = lines.iter().map(|l| i64::from(l.quantity)).sum();
    let added = form.added.and_then(|id| lines.iter().find(|l| l.product_id == id));
    let body = html! {
        h1 { "Your cart" }
        @if let Some(line) = added { p.notice.good role="status" { (line.name) " is in your cart." } }
        @if let Some(notice) = form.notice { p.notice.bad role="alert" { (notice) } }
        @if lines.is_empty() {
            p.lead { "There is nothing in it yet. " a href="/" { "Have a look around" } "." }
        } @else {
            div.columns {
                section aria-label="Goods" {
                    ul.lines role="list" { @for line in lines { (cart_line(line)) } }
                    (totals(goods_cents(lines), shipping_cents(goods_cents(lines))))
                }
                (order_form(lines, form))
            }
        }
    };
    layout("Your cart", Some(count), "", &body)
}

fn cart_line(line: &Line) -> Markup {
    html! {
        li.line {
            (picture(&line.picture, &line.category))
            div.what {
                a href={ "/product/" (line.product_id) } { (line.name) }
                span.quiet { (euros(line.price_cents)) " each" }
            }
            form.quantity method="post" action="/cart/update" {
                input type="hidden" name="product" value=(line.product_id);
                label.hidden for={ "quantity-" (line.product_id) } { "Quantity of " (line.name) }
                input id={ "quantity-" (line.product_id) } name="quantity" type="number" min="0" max="99"
                    value=(line.quantity) inputmode="numeric";
                button type="submit" { "Update" span.hidden { " the quantity of " (line.name) } }
            }
            form.remove method="post" action="/cart/update" {
                input type="hidden" name="product" value=(line.product_id);
                input type="hidden" name="quantity" value="0";
                button.link type="submit" { "Remove" span.hidden { " " (line.name) } }
            }
            span.price { (euros(line.cents())) }
        }
    }
}

fn totals(goods: i64, shipping: i64) -> Markup {
    html! {
        dl.totals {
            div { dt { "Goods" } dd { (euros(goods)) } }
            div { dt { "Shipping" } dd { @if shipping == 0 { "free" } @else { (euros(shipping)) } } }
            div.sum { dt { "Total" } dd { (euros(goods + shipping)) } }
        }
    }
}

fn order_form(lines: &[Line], form: &Form) -> Markup {
    let goods = goods_cents(lines);
    html! {
        section aria-labelledby="where" {
            form.order method="post" action="/checkout" novalidate[!form.problems.is_empty()] {
                h2 #where { "Where to?" }
                input type="hidden" name="checkout_key" value=(form.checkout_key);
                input type="hidden" name="shown_cents" value=(goods + shipping_cents(goods));
                (field(form, "name", "Name", html! {
                    input #name name="name" required minlength="2" maxlength="120" autocomplete="name"
                        value=(form.customer.name) aria-describedby=[described(form, "name")] aria-invalid=[invalid(form, "name")];
                }))
                (field(form, "email", "E-mail", html! {
                    input #email name="email" type="email" required maxlength="254" autocomplete="email"
                        value=(form.customer.email) aria-describedby=[described(form, "email")] aria-invalid=[invalid(form, "email")];
                }))
                (field(form, "address", "Address", html! {
                    textarea #address name="address" rows="4" required maxlength="600" autocomplete="street-address"
                        aria-describedby=[described(form, "address")] aria-invalid=[invalid(form, "address")] { (form.customer.address) }
                }))
                button.primary type="submit" { "Order for " (euros(goods + shipping_cents(goods))) }
            }
        }
    }
}

fn field(form: &Form, name: &'static str, label: &str, input: Markup) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            (input)
            @if let Some(problem) = form.problem(name) { p.problem id={ (name) "-problem" } { (problem) } }
        }
    }
}

fn described(form: &Form, name: &str) -> Option<String> {
    form.problem(name).map(|_| format!("{name}-problem"))
}

fn invalid(form: &Form, name: &str) -> Option<&'static str> {
    form.problem(name).map(|_| "true")
}

/// An order, for who knows its address.
pub(crate) fn order(count: i64, order: &Order, lines: &[Line]) -> Markup {
    let body = html! {
        p.notice.good role="status" { "Thank you. Your order is placed and safely written down." }
        h1 { "Order " (number(order)) }
        p.lead { "Placed on " (date(order.placed_s)) "." }
        div.columns {
            section aria-label="Goods" {
                ul.lines role="list" {
                    @for line in lines {
                        li.line {
                            (picture(&line.picture, &line.category))
                            div.what {
                                a href={ "/product/" (line.product_id) } { (line.name) }
                                span.quiet { (line.quantity) " × " (euros(line.price_cents)) }
                            }
                            span.price { (euros(line.cents())) }
                        }
                    }
                }
                (totals(order.goods_cents, order.shipping_cents))
            }
            section.address {
                h2 { "Goes to" }
                address { (order.name) br; @for line in order.address.lines() { (line) br; } }
                p.quiet { (order.email) }
            }
        }
    };
    layout(&format!("Order {}", number(order)), Some(count), "", &body)
}

/// This visitor's orders.
pub(crate) fn orders(count: i64, orders: &[Order]) -> Markup {
    let body = html! {
        h1 { "Your orders" }
        @if orders.is_empty() {
            p.lead { "None yet from this browser. " a href="/" { "Have a look around" } "." }
        } @else {
            ul.orders role="list" {
                @for order in orders {
                    li {
                        a href={ "/order/" (order.token) } { "Order " (number(order)) }
                        span.quiet { (date(order.placed_s)) }
                        span.price { (euros(order.goods_cents + order.shipping_cents)) }
                    }
                }
            }
        }
    };
    layout("Your orders", Some(count), "", &body)
}

/// How people speak of an order.
fn number(order: &Order) -> String {
    format!("H-{:05}", order.id)
}

/// A page that says why there is none.
pub(crate) fn failure(title: &str, what: &str) -> Markup {
    let body = html! {
        section.failure {
            h1 { (title) }
            p.lead { (what) }
            p { a.button href="/" { "To the catalogue" } }
        }
    };
    layout(title, None, "", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_name_their_fields() {
        let good = ("Ada Lovelace", "ada@example.com", "12 Rue du Four\n31000 Toulouse");
        for ((name, email, address), expected) in [
            (good, vec![]),
            (("", good.1, good.2), vec!["name"]),
            ((good.0, "ada", good.2), vec!["email"]),
            ((good.0, "@example.com", good.2), vec!["email"]),
            ((good.0, "ada@example", good.2), vec!["email"]),
            ((good.0, "a b@example.com", good.2), vec!["email"]),
            ((good.0, "a@b@example.com", good.2), vec!["email"]),
            (("", "", ""), vec!["name", "email", "address"]),
        ] {
            let customer = Customer { name: name.into(), email: email.into(), address: address.into() };
            let fields: Vec<_> = problems(&customer).into_iter().map(|(field, _)| field).collect();
            assert_eq!(fields, expected, "{customer:?}");
        }
    }

    #[test]
    fn what_visitors_type_is_escaped() {
        let nasty = "<script>alert('1')</script>\"&";
        let mut form = Form::fresh(None);
        form.customer.name = nasty.into();
        let line = Line {
            product_id: 1,
            name: nasty.into(),
            picture: nasty.into(),
            category: nasty.into(),
            quantity: 1,
            price_cents: 1,
        };
        for page in [search(0, nasty, &[]), cart(&[line], &form), failure(nasty, nasty)] {
            let page = page.into_string();
            assert!(!page.contains("<script"), "{page}");
            assert!(page.contains("&lt;script&gt;"), "{page}");
        }
    }
}
