//! A customer of the example shop: curl with a cookie jar.

use crate::site::Site;
use std::path::PathBuf;
use std::process::Command;

/// One customer with a session of their own.
#[derive(Debug)]
pub struct Customer<'a> {
    site: &'a Site,
    url: String,
    jar: PathBuf,
}

/// An answer to a customer.
#[derive(Debug)]
pub struct Answer {
    /// The status; 0 where there was none.
    pub status: u16,
    /// Where it redirects to.
    pub location: String,
    /// Its text.
    pub body: String,
}

impl<'a> Customer<'a> {
    /// A customer called `name`, who has not been here before.
    pub fn new(site: &'a Site, name: &str) -> Self {
        Self { site, url: site.url(), jar: site.path(&format!("jar-{name}")) }
    }

    /// One request; `form` makes it a POST.
    pub fn request(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let url = if path.starts_with("https://") { path.to_owned() } else { format!("{}{path}", self.url) };
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "30", "--cacert"]).arg(self.site.root_pem());
        command.arg("--cookie").arg(&self.jar).arg("--cookie-jar").arg(&self.jar);
        for (name, value) in form {
            command.arg("--data-urlencode").arg(format!("{name}={value}"));
        }
        let output = command
            .args(["--write-out", "\n%{http_code} %{redirect_url}"])
            .arg(url)
            .output()
            .expect("curl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, tail) = text.rsplit_once('\n').unwrap_or((&text, ""));
        let (status, location) = tail.split_once(' ').unwrap_or((tail, ""));
        Answer { status: status.parse().unwrap_or(0), location: location.to_owned(), body: body.to_owned() }
    }

    /// A page that must be there.
    pub fn get(&self, path: &str) -> String {
        let answer = self.request(path, &[]);
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.body);
        answer.body
    }

    /// Puts a product into the cart.
    pub fn add(&self, product: u32) {
        let answer = self.request("/cart/add", &[("product", &product.to_string())]);
        assert_eq!(answer.status, 303, "adding product {product}: {}", answer.body);
    }

    /// How many things the cart has, as its own page says.
    pub fn cart_count(&self) -> u32 {
        let page = self.get("/cart");
        let count = between(&page, "<span class=\"count\">", "</span>");
        count.parse().unwrap_or_else(|_| panic!("`{count}` is no count"))
    }

    /// Sends the order of what is in the cart.
    pub fn check_out(&self) -> Answer {
        let cart = self.get("/cart");
        let key = hidden(&cart, "checkout_key");
        let cents = hidden(&cart, "shown_cents");
        self.request(
            "/checkout",
            &[
                ("checkout_key", &key),
                ("shown_cents", &cents),
                ("name", "Ada Lovelace"),
                ("email", "ada@example.org"),
                ("address", "12 St James's Square, London"),
            ],
        )
    }

    /// Buys one thing; the order's URL.
    pub fn buy(&self, product: u32) -> String {
        self.add(product);
        let answer = self.check_out();
        assert_eq!(answer.status, 303, "checkout: {}", answer.body);
        answer.location
    }
}

fn hidden(page: &str, name: &str) -> String {
    between(page, &format!("name=\"{name}\" value=\""), "\"").to_owned()
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let from = text.find(before).unwrap_or_else(|| panic!("`{before}` is not in the page")) + before.len();
    let to = text[from..].find(after).expect("its end") + from;
    &text[from..to]
}
