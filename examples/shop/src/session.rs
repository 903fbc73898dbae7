//! Who a visitor is: a random cookie, made when the first thing enters the cart.

use axum::http::{HeaderMap, HeaderValue, header};

/// The cookie's name.
const COOKIE: &str = "shop_session";
/// 30 days, as long as a cart is kept.
const MAX_AGE_S: u32 = 30 * 24 * 3600;

/// 128 random bits in hexadecimal: for sessions, orders and checkout forms.
pub(crate) fn random_token() -> String {
    let mut bytes = [0u8; 16];
    // aws-lc-rs: fails only where the kernel has no random source, and then
    // nothing that follows would be safe.
    aws_lc_rs::rand::fill(&mut bytes).expect("the kernel's random source works");
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether a text is one that [`random_token`] could have made.
pub(crate) fn is_token(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The visitor's session, where the request carries a well-formed one.
pub(crate) fn of(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == COOKIE && is_token(value))
        .map(|(_, value)| value.to_owned())
}

/// The `Set-Cookie` header for a session; `Secure` where the visitor came by HTTPS.
pub(crate) fn cookie(session: &str, request: &HeaderMap) -> HeaderValue {
    let https = request.get("x-forwarded-proto").is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"https"));
    let secure = if https { "; Secure" } else { "" };
    let text = format!("{COOKIE}={session}; Path=/; Max-Age={MAX_AGE_S}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&text).expect("a token and fixed text are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cookie: &str, expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_str(cookie).unwrap());
        assert_eq!(of(&headers).as_deref(), expected, "{cookie}");
    }

    #[test]
    fn sessions_are_read_and_nonsense_is_not() {
        let id = "0123456789abcdef0123456789abcdef";
        check(&format!("shop_session={id}"), Some(id));
        check(&format!("a=b;  shop_session={id} ; c"), Some(id));
        check(&format!("shop_session=; shop_session={id}"), Some(id));
        check(&format!("xshop_session={id}"), None);
        check(&format!("shop_session={}", id.to_uppercase()), None);
        check(&format!("shop_session={id}0"), None);
        check("shop_session=' OR 1=1 --", None);
        check(";;;=;", None);
    }

    #[test]
    fn tokens_differ_and_pass_their_own_check() {
        let (a, b) = (random_token(), random_token());
        assert!(is_token(&a) && is_token(&b) && a != b);
    }
}
