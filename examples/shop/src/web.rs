//! The routes, and what each request meets on its way in and out.

use crate::checkout::{self, Customer, Outcome};
use crate::database::{Database, Fault};
use crate::metrics::Metrics;
use crate::pages::{self, Form as FormState};
use crate::{assets, log, session, store, text};
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{DefaultBodyLimit, Form, MatchedPath, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use maud::Markup;
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest form.
const LONGEST_FORM: usize = 16 * 1024;
/// The longest any request may take: the patience with the database, and room to answer.
const LONGEST_REQUEST: Duration = Duration::from_secs(10);

/// What every request can reach.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) database: Database,
    pub(crate) metrics: Arc<Metrics>,
}

/// The shop's routes.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/search", get(search))
        .route("/product/{id}", get(product))
        .route("/cart", get(cart))
        .route("/cart/add", post(cart_add))
        .route("/cart/update", post(cart_update))
        .route("/checkout", post(check_out))
        .route("/order/{token}", get(order))
        .route("/orders", get(orders))
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .route("/assets/{*path}", get(assets::serve))
        .route("/favicon.ico", get(|| assets::serve(Path("favicon.svg".to_owned()))))
        .fallback(async || Failure::not_found("page"))
        .layer(DefaultBodyLimit::max(LONGEST_FORM))
        .layer(middleware::from_fn_with_state(app.clone(), around))
        .with_state(app)
}

/// Resolves when the shop shall stop.
pub(crate) async fn until(mut stopped: tokio::sync::watch::Receiver<bool>) {
    // An error means that the sender is gone, and then the shop is stopping too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Around every request: a limit on its time, a check of where a form comes from,
/// the security headers, and the counters.
async fn around(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    };
    let guard = InFlight::begin(&app.metrics);
    let mut response = if method == "POST" && is_cross_site(request.headers()) {
        Failure::Bad("This form was sent from another website.".to_owned()).into_response()
    } else {
        match tokio::time::timeout(LONGEST_REQUEST, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Failure::Away(format!("not done within {LONGEST_REQUEST:?}")).into_response(),
        }
    };
    drop(guard);
    if response.extensions().get::<ToldAway>().is_some() {
        app.metrics.told_unavailable();
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (
            "content-security-policy",
            "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
        ),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    app.metrics.answered(method, &route, response.status().as_u16(), began.elapsed());
    response
}

/// Counts a request as long as it is being answered, also when its client leaves.
struct InFlight(Arc<Metrics>);

impl InFlight {
    fn begin(metrics: &Arc<Metrics>) -> Self {
        metrics.begin();
        Self(Arc::clone(metrics))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// `SameSite=Lax` keeps the session out of other sites' forms already; browsers
/// that say where a form comes from (Fetch Metadata) are believed as well.
fn is_cross_site(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|v| v == "cross-site")
}

/// Why there is no page.
enum Failure {
    NotFound(&'static str),
    Bad(String),
    TooLong,
    Away(String),
    Broken(String),
}

impl Failure {
    fn not_found(what: &'static str) -> Self {
        Self::NotFound(what)
    }
}

/// Marks the response that tells a visitor to come back later.
#[derive(Clone)]
struct ToldAway;

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Away(why) => Self::Away(why),
            Fault::Broken(error) => Self::Broken(error.to_string()),
        }
    }
}

impl From<FormRejection> for Failure {
    fn from(rejection: FormRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return Self::TooLong;
        }
        Self::Bad(format!("The form cannot be read: {}", rejection.body_text()))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, title, what) = match self {
            Self::NotFound(what) => (
                StatusCode::NOT_FOUND,
                format!("No such {what}"),
                "It may have been sold out, or the address has a typing error.".to_owned(),
            ),
            Self::Bad(what) => (StatusCode::BAD_REQUEST, "That did not work".to_owned(), what),
            Self::TooLong => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "That is too much".to_owned(),
                format!("A form may have {} KB.", LONGEST_FORM / 1024),
            ),
            Self::Away(why) => {
                log(format_args!("told a visitor to come back: {why}"));
                let what = "Our storeroom does not answer just now. Nothing you did is lost: please try again in a few seconds.";
                (StatusCode::SERVICE_UNAVAILABLE, "One moment, please".to_owned(), what.to_owned())
            }
            Self::Broken(why) => {
                log(format_args!("error: {why}"));
                let what = "The mistake is ours, and it is written down. Please try again.";
                (StatusCode::INTERNAL_SERVER_ERROR, "Something broke".to_owned(), what.to_owned())
            }
        };
        let mut response = (status, Html(pages::failure(&title, &what).into_string())).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            response.extensions_mut().insert(ToldAway);
        }
        response
    }
}

type Page = Result<Response, Failure>;

fn page(markup: Markup) -> Page {
    Ok(Html(markup.into_string()).into_response())
}

fn see_other(to: &str) -> Response {
    let to = HeaderValue::from_str(to).expect("addresses are built from numbers and tokens");
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

impl App {
    fn pool(&self) -> &sqlx::PgPool {
        self.database.pool()
    }

    async fn count(&self, headers: &HeaderMap) -> Result<i64, Fault> {
        let Some(session) = session::of(headers) else { return Ok(0) };
        self.database.run(|| store::cart_count(self.pool(), &session)).await
    }
}

#[derive(Deserialize)]
struct HomeQuery {
    category: Option<String>,
}

async fn home(State(app): State<App>, headers: HeaderMap, Query(query): Query<HomeQuery>) -> Page {
    let count = app.count(&headers).await?;
    let category = query.category.map(|c| text::line(&c, 40)).filter(|c| !c.is_empty());
    let products = app.database.run(|| store::products(app.pool(), category.as_deref())).await?;
    if products.is_empty() {
        return Err(Failure::not_found("category"));
    }
    page(pages::home(count, category.as_deref(), &products))
}

#[derive(Deserialize)]
struct SearchQuery {
    #[serde(default)]
    q: String,
}

async fn search(State(app): State<App>, headers: HeaderMap, Query(query): Query<SearchQuery>) -> Page {
    let words = text::line(&query.q, 100);
    if words.is_empty() {
        return Ok(see_other("/"));
    }
    let count = app.count(&headers).await?;
    let products = app.database.run(|| store::search(app.pool(), &words)).await?;
    page(pages::search(count, &words, &products))
}

async fn product(State(app): State<App>, headers: HeaderMap, Path(id): Path<String>) -> Page {
    let id: i32 = id.parse().map_err(|_| Failure::not_found("product"))?;
    let found = app.database.run(|| store::product(app.pool(), id)).await?;
    let product = found.ok_or(Failure::not_found("product"))?;
    let count = app.count(&headers).await?;
    let alike = app.database.run(|| store::products(app.pool(), Some(&product.category))).await?;
    page(pages::product(count, &product, &alike))
}

#[derive(Deserialize)]
struct CartQuery {
    added: Option<String>,
}

async fn cart(State(app): State<App>, headers: HeaderMap, Query(query): Query<CartQuery>) -> Page {
    let added = query.added.and_then(|id| id.parse::<i32>().ok());
    show_cart(&app, &headers, StatusCode::OK, &FormState::fresh(added)).await
}

async fn show_cart(app: &App, headers: &HeaderMap, status: StatusCode, form: &FormState) -> Page {
    let lines = match session::of(headers) {
        Some(session) => app.database.run(|| store::cart(app.pool(), &session)).await?,
        None => Vec::new(),
    };
    Ok((status, Html(pages::cart(&lines, form).into_string())).into_response())
}

#[derive(Deserialize)]
struct LineForm {
    product: String,
    quantity: Option<String>,
}

impl LineForm {
    fn read(&self, least: i32) -> Result<(i32, i32), Failure> {
        let product = self.product.parse().map_err(|_| Failure::not_found("product"))?;
        let quantity: i32 = match self.quantity.as_deref().map(str::trim) {
            None => 1,
            Some(text) => text.parse().unwrap_or(-1),
        };
        if quantity < least || quantity > 99 {
            return Err(Failure::Bad(format!("A quantity is a number from {least} to 99.")));
        }
        Ok((product, quantity))
    }
}

async fn cart_add(
    State(app): State<App>,
    headers: HeaderMap,
    form: Result<Form<LineForm>, FormRejection>,
) -> Page {
    let Form(form) = form?;
    let (product, quantity) = form.read(1)?;
    let session = session::of(&headers).unwrap_or_else(session::random_token);
    let request = session::random_token();
    let known =
        app.database.run(|| store::cart_add(app.pool(), &session, product, quantity, &request)).await?;
    if !known {
        return Err(Failure::not_found("product"));
    }
    app.metrics.added();
    let mut response = see_other(&format!("/cart?added={product}"));
    // Again with each thing added, so that a cart in use does not run out.
    response.headers_mut().insert(header::SET_COOKIE, session::cookie(&session, &headers));
    Ok(response)
}

async fn cart_update(
    State(app): State<App>,
    headers: HeaderMap,
    form: Result<Form<LineForm>, FormRejection>,
) -> Page {
    let Form(form) = form?;
    let (product, quantity) = form.read(0)?;
    if let Some(session) = session::of(&headers) {
        app.database.run(|| store::cart_set(app.pool(), &session, product, quantity)).await?;
    }
    Ok(see_other("/cart"))
}

#[derive(Deserialize)]
struct CheckoutForm {
    #[serde(default)]
    checkout_key: String,
    #[serde(default)]
    shown_cents: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    address: String,
}

async fn check_out(
    State(app): State<App>,
    headers: HeaderMap,
    form: Result<Form<CheckoutForm>, FormRejection>,
) -> Page {
    let Form(form) = form?;
    let Some(session) = session::of(&headers) else { return Ok(see_other("/cart")) };
    let mut state = FormState::fresh(None);
    state.customer = Customer {
        name: text::line(&form.name, 120),
        email: text::line(&form.email, 254),
        address: text::lines(&form.address, 6, 120),
    };
    state.problems = pages::problems(&state.customer);
    if state.problems.is_empty() && !session::is_token(&form.checkout_key) {
        state.notice = Some("This form was not complete. Please look it over and order again.");
    }
    if !state.problems.is_empty() || state.notice.is_some() {
        return show_cart(&app, &headers, StatusCode::UNPROCESSABLE_ENTITY, &state).await;
    }
    let shown: i64 = form.shown_cents.parse().unwrap_or(-1);
    let outcome = app
        .database
        .run(|| checkout::place(app.pool(), &session, &form.checkout_key, &state.customer, shown))
        .await?;
    match outcome {
        Outcome::Placed { token, new } => {
            if new {
                app.metrics.ordered(shown);
            }
            Ok(see_other(&format!("/order/{token}")))
        }
        Outcome::Empty => Ok(see_other("/cart")),
        Outcome::Changed => {
            state.notice =
                Some("Your cart or a price has changed meanwhile. Please look it over and order again.");
            show_cart(&app, &headers, StatusCode::CONFLICT, &state).await
        }
    }
}

async fn order(State(app): State<App>, headers: HeaderMap, Path(token): Path<String>) -> Page {
    if !session::is_token(&token) {
        return Err(Failure::not_found("order"));
    }
    let found = app.database.run(|| store::order(app.pool(), &token)).await?;
    let (order, lines) = found.ok_or(Failure::not_found("order"))?;
    let count = app.count(&headers).await?;
    page(pages::order(count, &order, &lines))
}

async fn orders(State(app): State<App>, headers: HeaderMap) -> Page {
    let count = app.count(&headers).await?;
    let orders = match session::of(&headers) {
        Some(session) => app.database.run(|| store::orders(app.pool(), &session)).await?,
        None => Vec::new(),
    };
    page(pages::orders(count, &orders))
}

async fn healthz(State(app): State<App>) -> Response {
    match app.database.health().await {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn metrics(State(app): State<App>) -> Response {
    let text = app.metrics.text(app.database.connections(), app.database.retries());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
