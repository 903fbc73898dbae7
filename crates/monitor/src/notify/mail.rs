//! Sending an e-mail by SMTP.

use super::Undelivered;
use crate::fetch;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use monitor_alert::manager::Failure;
use monitor_alert::manager::config::{Email, Http, MailTls};
use monitor_alert::receiver::email::Mail;
use std::time::Duration;

/// Whether the server's address can be understood.
pub(super) fn check(email: &Email) -> Result<(), String> {
    split(&email.smarthost).map(drop).ok_or_else(|| "is no `host:port` of a mail server".to_owned())
}

fn split(smarthost: &str) -> Option<(&str, u16)> {
    let (host, port) = smarthost.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host, port.parse().ok()?)).filter(|_| !host.is_empty())
}

/// Puts it into MIME and sends it.
pub(super) async fn send(
    mail: Mail,
    email: &Email,
    http: &Http,
    timeout: Duration,
) -> Result<(), Undelivered> {
    let never = |why: String| Undelivered { why, failure: Failure { permanent: true, ..Failure::default() } };
    let message = message(mail).map_err(never)?;
    let transport = transport(email, http, timeout).map_err(never)?;
    match tokio::time::timeout(timeout, transport.send(message)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Undelivered {
            why: format!("the mail server `{}` did not take it: {}", email.smarthost, chain(&error)),
            // RFC 5321 §4.2.1: 5yz is the server's last word.
            failure: Failure {
                permanent: error.is_permanent(),
                unsure: error.is_timeout(),
                retry_after_ms: None,
            },
        }),
        Err(_) => Err(Undelivered {
            why: format!("the mail server `{}` did not take it within {timeout:?}", email.smarthost),
            failure: Failure { unsure: true, ..Failure::default() },
        }),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text.replace(['\r', '\n'], " ")
}

fn message(mail: Mail) -> Result<Message, String> {
    let mailbox = |text: &str| {
        text.parse::<Mailbox>().map_err(|error| format!("`{text}` is no e-mail address: {error}"))
    };
    let mut builder = Message::builder().from(mailbox(&mail.from)?).subject(mail.subject).date_now();
    for reader in &mail.to {
        builder = builder.to(mailbox(reader)?);
    }
    let plain = SinglePart::plain(mail.text);
    let built = match mail.html {
        Some(html) => {
            builder.multipart(MultiPart::alternative().singlepart(plain).singlepart(SinglePart::html(html)))
        }
        None => builder.singlepart(plain),
    };
    let mut message = built.map_err(|error| format!("the mail cannot be built: {error}"))?;
    for (name, value) in mail.headers {
        let name =
            HeaderName::new_from_ascii(name.clone()).map_err(|_| format!("`{name}` is no header's name"))?;
        message.headers_mut().insert_raw(HeaderValue::new(name, value));
    }
    Ok(message)
}

fn transport(
    email: &Email,
    http: &Http,
    timeout: Duration,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let (host, port) = split(&email.smarthost).ok_or("its address is no `host:port`")?;
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let tls = match email.tls {
        MailTls::Implicit => Tls::Wrapper(parameters(host, http)?),
        MailTls::StartTls => Tls::Required(parameters(host, http)?),
        // A password never goes over the network in the clear.
        MailTls::Opportunistic if email.login.is_some() && !loopback => {
            Tls::Required(parameters(host, http)?)
        }
        MailTls::Opportunistic => Tls::Opportunistic(parameters(host, http)?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
        .port(port)
        .tls(tls)
        .timeout(Some(timeout));
    if !email.hello.is_empty() {
        builder = builder.hello_name(ClientId::Domain(email.hello.clone()));
    }
    if let Some((user, password)) = &email.login {
        builder = builder.credentials(Credentials::new(user.clone(), password.reveal().to_owned()));
    }
    Ok(builder.build())
}

fn parameters(host: &str, http: &Http) -> Result<TlsParameters, String> {
    let wrong = |error: lettre::transport::smtp::Error| format!("TLS cannot be set up: {}", chain(&error));
    let mut builder = TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::None);
    let pem = match &http.ca {
        Some(pem) => pem.clone().into_bytes(),
        // Without roots no certificate is trusted, and the error says so.
        None => {
            let named = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
            let path = named.or_else(|| {
                fetch::ROOT_FILES.iter().map(Into::into).find(|p: &std::path::PathBuf| p.is_file())
            });
            path.and_then(|path| std::fs::read(path).ok()).unwrap_or_default()
        }
    };
    for der in rustls_pemfile::certs(&mut pem.as_slice()).flatten() {
        if let Ok(certificate) = Certificate::from_der(der.to_vec()) {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder = builder.dangerous_accept_invalid_certs(http.insecure);
    builder.build_rustls().map_err(wrong)
}
