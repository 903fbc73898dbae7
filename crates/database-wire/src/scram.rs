//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL speaks it (manual 55.3.1):
//! the user's name in the messages is ignored, it came in the start-up packet;
//! no channel binding is offered.

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::borrow::Cow;
use std::num::NonZeroU32;
use thiserror::Error;

/// The mechanism's name.
pub const MECHANISM: &str = "SCRAM-SHA-256";

/// Iterations of a verifier of ours, as PostgreSQL's default.
pub const ITERATIONS: u32 = 4_096;

/// A server that asks for more iterations than this wastes our time on purpose.
const MAX_ITERATIONS: u32 = 1_000_000;

/// Messages longer than this are not SCRAM's.
const MAX_MESSAGE: usize = 4_096;

/// Why an exchange failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScramError {
    /// The message is not what RFC 5802 §7 allows here.
    #[error("the SCRAM message is malformed: {0}")]
    Malformed(&'static str),
    /// The client insists on channel binding.
    #[error("channel binding is not offered")]
    ChannelBinding,
    /// Wrong password, or no such user.
    #[error("the password is wrong")]
    WrongPassword,
    /// The server does not know the password: somebody stands between.
    #[error("the server did not prove that it knows the password")]
    WrongServer,
    /// The server refused.
    #[error("the server refused: {0}")]
    Refused(String),
}

/// What a server keeps of a password.
#[derive(Clone)]
pub struct Verifier {
    salt: Vec<u8>,
    iterations: NonZeroU32,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

impl Verifier {
    /// Derives it; slow on purpose (about 1 ms).
    pub fn new(password: &str, salt: &[u8], iterations: u32) -> Self {
        let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        let salted = salted_password(password, salt, iterations);
        let (stored_key, server_key) = keys(&salted);
        Self { salt: salt.to_vec(), iterations, stored_key, server_key }
    }

    /// As PostgreSQL stores it (`pg_authid.rolpassword`): given to `CREATE ROLE … PASSWORD`, it keeps the
    /// password itself out of statements and logs.
    pub fn to_stored(&self) -> String {
        let encode = |bytes: &[u8]| BASE64.encode(bytes);
        format!(
            "{MECHANISM}${}:{}${}:{}",
            self.iterations,
            encode(&self.salt),
            encode(&self.stored_key),
            encode(&self.server_key)
        )
    }

    /// For a user that does not exist: the exchange looks the same (the salt
    /// stays the same for the same name) and fails at its end.
    pub fn mock(user: &str, secret: &[u8; 32]) -> Self {
        let salt = hmac_sha256(secret, user.as_bytes());
        let iterations = NonZeroU32::new(ITERATIONS).unwrap_or(NonZeroU32::MIN);
        Self { salt: salt[..16].to_vec(), iterations, stored_key: [0; 32], server_key: [0; 32] }
    }
}

/// The server's side between its first message and the client's last.
pub struct Server {
    verifier: Verifier,
    genuine: bool,
    gs2_header: String,
    nonce: String,
    client_first_bare: String,
    server_first: String,
}

impl Server {
    /// Takes the client's first message and gives the server's. `nonce` is 24
    /// characters or so of fresh base 64; `genuine` is false for a mock verifier.
    pub fn start(
        verifier: Verifier,
        genuine: bool,
        client_first: &[u8],
        nonce: &str,
    ) -> Result<(Self, String), ScramError> {
        let text = as_text(client_first)?;
        let (gs2_header, bare) = split_gs2(text)?;
        let mut attributes = bare.split(',');
        // `m=` is reserved for mandatory extensions (RFC 5802 §5.1): none is known.
        let user = attributes.next().unwrap_or_default();
        if !user.starts_with("n=") {
            return Err(ScramError::Malformed("`n=` is missing"));
        }
        let client_nonce = attributes
            .next()
            .and_then(|a| a.strip_prefix("r="))
            .filter(|nonce| !nonce.is_empty() && nonce.bytes().all(|b| b.is_ascii_graphic() && b != b','))
            .ok_or(ScramError::Malformed("`r=` is missing"))?;
        let nonce = format!("{client_nonce}{nonce}");
        let salt = BASE64.encode(&verifier.salt);
        let server_first = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let server = Self {
            verifier,
            genuine,
            gs2_header: gs2_header.to_owned(),
            nonce,
            client_first_bare: bare.to_owned(),
            server_first: server_first.clone(),
        };
        Ok((server, server_first))
    }

    /// Takes the client's last message and gives the server's.
    pub fn finish(self, client_final: &[u8]) -> Result<String, ScramError> {
        let text = as_text(client_final)?;
        let (without_proof, proof) =
            text.rsplit_once(",p=").ok_or(ScramError::Malformed("`p=` is missing"))?;
        let mut attributes = without_proof.split(',');
        let binding = attributes
            .next()
            .and_then(|a| a.strip_prefix("c="))
            .ok_or(ScramError::Malformed("`c=` is missing"))?;
        if binding != BASE64.encode(&self.gs2_header) {
            return Err(ScramError::Malformed("`c=` repeats another header"));
        }
        let nonce = attributes
            .next()
            .and_then(|a| a.strip_prefix("r="))
            .ok_or(ScramError::Malformed("`r=` is missing"))?;
        if nonce != self.nonce {
            return Err(ScramError::Malformed("`r=` is not the nonce agreed on"));
        }
        let proof: [u8; 32] = BASE64
            .decode(proof)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(ScramError::Malformed("`p=` is not 32 bytes of base 64"))?;

        let auth_message = format!("{},{},{without_proof}", self.client_first_bare, self.server_first);
        let signature = hmac_sha256(&self.verifier.stored_key, auth_message.as_bytes());
        let client_key = xor(&proof, &signature);
        let matches =
            constant_time::verify_slices_are_equal(&sha256(&client_key), &self.verifier.stored_key).is_ok();
        if !(matches && self.genuine) {
            return Err(ScramError::WrongPassword);
        }
        let server_signature = hmac_sha256(&self.verifier.server_key, auth_message.as_bytes());
        Ok(format!("v={}", BASE64.encode(server_signature)))
    }
}

/// The client's side.
pub struct Client {
    password: String,
    nonce: String,
    expected_server_signature: Option<[u8; 32]>,
}

impl Client {
    /// Starts an exchange; `nonce` is 24 characters or so of fresh base 64.
    pub fn new(password: &str, nonce: &str) -> Self {
        Self { password: password.to_owned(), nonce: nonce.to_owned(), expected_server_signature: None }
    }

    /// The first message.
    pub fn first(&self) -> String {
        format!("n,,{}", self.first_bare())
    }

    fn first_bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// Answers the server's first message.
    pub fn answer(&mut self, server_first: &[u8]) -> Result<String, ScramError> {
        let text = as_text(server_first)?;
        let mut attributes = text.split(',');
        let mut attribute = |prefix: &str, missing: &'static str| {
            attributes.next().and_then(|a| a.strip_prefix(prefix)).ok_or(ScramError::Malformed(missing))
        };
        let nonce = attribute("r=", "`r=` is missing")?;
        let salt = attribute("s=", "`s=` is missing")?;
        let iterations = attribute("i=", "`i=` is missing")?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(ScramError::Malformed("`r=` does not begin with our nonce"));
        }
        let salt = BASE64.decode(salt).map_err(|_| ScramError::Malformed("`s=` is not base 64"))?;
        let iterations = iterations
            .parse::<NonZeroU32>()
            .ok()
            .filter(|n| n.get() <= MAX_ITERATIONS)
            .ok_or(ScramError::Malformed("`i=` is not a possible number of iterations"))?;

        let salted = salted_password(&self.password, &salt, iterations);
        let client_key = hmac_sha256(&salted, b"Client Key");
        let (stored_key, server_key) = keys(&salted);
        let without_proof = format!("c=biws,r={nonce}");
        let auth_message = format!("{},{text},{without_proof}", self.first_bare());
        let proof = xor(&client_key, &hmac_sha256(&stored_key, auth_message.as_bytes()));
        self.expected_server_signature = Some(hmac_sha256(&server_key, auth_message.as_bytes()));
        Ok(format!("{without_proof},p={}", BASE64.encode(proof)))
    }

    /// Checks the server's last message.
    pub fn finish(&self, server_final: &[u8]) -> Result<(), ScramError> {
        let text = as_text(server_final)?;
        if let Some(error) = text.strip_prefix("e=") {
            return Err(ScramError::Refused(error.escape_debug().to_string()));
        }
        let signature = text
            .strip_prefix("v=")
            .and_then(|v| v.split(',').next())
            .and_then(|v| BASE64.decode(v).ok())
            .ok_or(ScramError::Malformed("`v=` is missing"))?;
        let expected = self.expected_server_signature.ok_or(ScramError::WrongServer)?;
        constant_time::verify_slices_are_equal(&signature, &expected).map_err(|_| ScramError::WrongServer)
    }
}

fn as_text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MAX_MESSAGE {
        return Err(ScramError::Malformed("it is too long"));
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed("it is not UTF-8"))
}

/// Splits the GS2 header (`n,,`, `y,,`, `n,a=name,`) from the bare message (RFC 5802 §7).
fn split_gs2(text: &str) -> Result<(&str, &str), ScramError> {
    let first_comma = text.find(',').ok_or(ScramError::Malformed("the GS2 header is missing"))?;
    match &text[..first_comma] {
        // `y`: the client could bind, and believes that we cannot. It is right.
        "n" | "y" => {}
        flag if flag.starts_with("p=") => return Err(ScramError::ChannelBinding),
        _ => return Err(ScramError::Malformed("the GS2 header is not `n` or `y`")),
    }
    let rest = &text[first_comma + 1..];
    let second_comma = rest.find(',').ok_or(ScramError::Malformed("the GS2 header is cut off"))?;
    if second_comma != 0 {
        return Err(ScramError::Malformed("an authorization identity is not supported"));
    }
    Ok(text.split_at(first_comma + 2))
}

/// RFC 5802 §3 `Hi`, over the password prepared by RFC 4013; one that cannot be
/// prepared is taken as it is, as PostgreSQL does.
fn salted_password(password: &str, salt: &[u8], iterations: NonZeroU32) -> [u8; 32] {
    let prepared = stringprep::saslprep(password).unwrap_or(Cow::Borrowed(password));
    let mut out = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, prepared.as_bytes(), &mut out);
    out
}

fn keys(salted: &[u8; 32]) -> ([u8; 32], [u8; 32]) {
    (sha256(&hmac_sha256(salted, b"Client Key")), hmac_sha256(salted, b"Server Key"))
}

fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
    std::array::from_fn(|i| tag.as_ref()[i])
}

fn sha256(data: &[u8]) -> [u8; 32] {
    let hash = digest::digest(&digest::SHA256, data);
    std::array::from_fn(|i| hash.as_ref()[i])
}

fn xor(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    std::array::from_fn(|i| a[i] ^ b[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(stored: &str, given: &str, genuine: bool) -> Result<(), ScramError> {
        let verifier = Verifier::new(stored, b"0123456789abcdef", ITERATIONS);
        let mut client = Client::new(given, "clientnonce");
        let (server, server_first) =
            Server::start(verifier, genuine, client.first().as_bytes(), "servernonce")?;
        let client_final = client.answer(server_first.as_bytes())?;
        let server_final = server.finish(client_final.as_bytes())?;
        client.finish(server_final.as_bytes())
    }

    #[test]
    fn the_right_password_and_no_other() {
        assert_eq!(exchange("pencil", "pencil", true), Ok(()));
        assert_eq!(exchange("pencil", "Pencil", true), Err(ScramError::WrongPassword));
        assert_eq!(exchange("pencil", "", true), Err(ScramError::WrongPassword));
        assert_eq!(exchange("pencil", "pencil", false), Err(ScramError::WrongPassword));
        // RFC 4013: a soft hyphen maps to nothing.
        assert_eq!(exchange("I\u{ad}X", "IX", true), Ok(()));
    }

    /// The exchange printed in RFC 7677 §3.
    #[test]
    fn the_example_of_rfc_7677() {
        let mut client = Client::new("pencil", "rOprNGfwEbeRWgbNEkqO");
        let server_first =
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        // The RFC's client names its user in `n=`, PostgreSQL's leaves it empty:
        // check the server's side, which takes whatever name comes.
        assert!(
            client.answer(server_first.as_bytes()).unwrap().starts_with("c=biws,r=rOprNGfwEbeRWgbNEkqO%hv")
        );

        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = Verifier::new("pencil", &salt, 4096);
        let (server, first) = Server::start(
            verifier,
            true,
            b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        )
        .unwrap();
        assert_eq!(first, server_first);
        let last = server.finish(
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        );
        assert_eq!(last.as_deref(), Ok("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        let mut client = Client::new("pencil", "abc");
        client.answer(b"r=abcdef,s=MDEyMw==,i=4096").unwrap();
        let forged = format!("v={}", BASE64.encode([0; 32]));
        assert_eq!(client.finish(forged.as_bytes()), Err(ScramError::WrongServer));
        assert_eq!(client.finish(b"e=other-error"), Err(ScramError::Refused("other-error".into())));
        assert!(Client::new("pencil", "abc").finish(forged.as_bytes()).is_err());
        for bad in ["r=xyz,s=MDEyMw==,i=1", "r=abc,s=MDEyMw==,i=1", "r=abcd,s=MDEyMw==,i=0", "r=abcd,s=!,i=1"]
        {
            assert!(client.answer(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn malformed_first_messages() {
        let verifier = Verifier::mock("ghost", &[7; 32]);
        for bad in
            ["", "n", "n,,", "p=tls-unique,,n=,r=x", "n,a=admin,n=,r=x", "n,,r=x", "n,,n=,r=", "x,,n=,r=x"]
        {
            assert!(Server::start(verifier.clone(), false, bad.as_bytes(), "n").is_err(), "{bad}");
        }
        assert_eq!(Verifier::mock("ghost", &[7; 32]).salt, verifier.salt);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120)) {
            let verifier = Verifier::mock("ghost", &[7; 32]);
            let _ = Server::start(verifier.clone(), false, &bytes, "nonce");
            let (server, _) = Server::start(verifier, false, b"n,,n=,r=x", "nonce").unwrap();
            let _ = server.finish(&bytes);
            let mut client = Client::new("p", "x");
            let _ = client.answer(&bytes);
            let _ = client.finish(&bytes);
        }
    }
}
