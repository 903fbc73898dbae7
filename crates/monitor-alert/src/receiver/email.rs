//! E-mails.

use super::Builder;
use crate::manager::config::Email;

/// A mail, to be put into MIME and sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// The sender's address.
    pub from: String,
    /// The readers' addresses.
    pub to: Vec<String>,
    /// The subject, one line.
    pub subject: String,
    /// Further header lines.
    pub headers: Vec<(String, String)>,
    /// The plain part.
    pub text: String,
    /// The HTML part, if any.
    pub html: Option<String>,
}

/// The mail of a message.
pub(super) fn mail(builder: &Builder<'_>, email: &Email) -> Result<Mail, String> {
    let to: Vec<String> =
        builder.text(&email.to).split(',').map(|a| a.trim().to_owned()).filter(|a| !a.is_empty()).collect();
    if to.is_empty() {
        return Err("the mail has no reader; hint: give `to` an address".to_owned());
    }
    let mut subject = builder.text("{{ template \"email.default.subject\" . }}");
    let mut headers = Vec::new();
    for (name, template) in &email.headers {
        // A label's line feed must not begin another header line.
        let value = builder.text(template).replace(['\r', '\n'], " ");
        if name.eq_ignore_ascii_case("subject") {
            subject = value;
        } else {
            headers.push((name.clone(), value));
        }
    }
    let text = if email.text.is_empty() { "{{ template \"email.default.text\" . }}" } else { &email.text };
    Ok(Mail {
        from: builder.text(&email.from),
        to,
        subject: super::clip(&subject.replace(['\r', '\n'], " "), 250),
        headers,
        text: builder.text(text),
        html: (!email.html.is_empty()).then(|| builder.html(&email.html)),
    })
}
