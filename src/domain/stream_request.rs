//! What to say when asking for a stream, besides its address.

use std::fmt;

/// Headers that say how the bytes travel: those are ours to choose.
const OURS: [&str; 9] = [
    "accept-encoding",
    "connection",
    "content-length",
    "host",
    "icy-metadata",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Longest value of a header, bytes.
const MAX_VALUE: usize = 8192;

/// The user's own headers for one stream. Values may be secret (a token, a cookie): only names are printed.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct StreamRequest {
    user_agent: Option<String>,
    headers: Vec<(String, String)>,
}

impl StreamRequest {
    /// True where nothing is to be said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.user_agent.is_none() && self.headers.is_empty()
    }

    /// How to introduce oneself; `None`: as streamrip.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.user_agent.as_deref()
    }

    /// Names in lower case, and values, which may be secret. In order of names.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// Sets how to introduce oneself.
    ///
    /// # Errors
    /// When it could not stand in a header.
    pub fn set_user_agent(&mut self, value: &str) -> Result<(), String> {
        self.user_agent = Some(checked(value).ok_or("user_agent must be one line of plain text")?.to_owned());
        Ok(())
    }

    /// Adds a header.
    ///
    /// # Errors
    /// When name or value could not stand in a request, the name is there already, or is not the user's to set.
    /// The value is not in the message.
    pub fn add_header(&mut self, name: &str, value: &str) -> Result<(), String> {
        let name = name.trim().to_ascii_lowercase();
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || name.len() > 100 || !name.chars().all(is_token) {
            return Err(format!("{:?} is no name of a header", name.chars().take(40).collect::<String>()));
        }
        if name == "user-agent" {
            return Err("the header user-agent is set by user_agent = \"...\"".to_owned());
        }
        if OURS.contains(&name.as_str()) {
            return Err(format!("the header {name} cannot be set"));
        }
        let value = checked(value).ok_or_else(|| format!("the value of {name} must be one line of plain text"))?;
        match self.headers.binary_search_by(|(known, _)| known.as_str().cmp(&name)) {
            Ok(_) => Err(format!("the header {name} stands here twice")),
            Err(at) => {
                self.headers.insert(at, (name, value.to_owned()));
                Ok(())
            }
        }
    }
}

/// A value that can stand in a header.
fn checked(value: &str) -> Option<&str> {
    let value = value.trim();
    let is_plain = value.bytes().all(|b| b == b'\t' || (b >= 0x20 && b != 0x7f));
    (is_plain && !value.is_empty() && value.len() <= MAX_VALUE).then_some(value)
}

impl fmt::Debug for StreamRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.headers.iter().map(|(name, _)| name.as_str());
        f.debug_struct("StreamRequest")
            .field("user_agent", &self.user_agent.as_ref().map(|_| "***"))
            .field("headers", &names.collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_stand_in_a_request_is_refused_and_no_value_is_printed() {
        let mut request = StreamRequest::default();
        assert!(request.is_empty());
        request.set_user_agent(" NSPlayer/7.0 ").expect("fine");
        request.add_header("X-Key", "s3cret").expect("fine");
        request.add_header("Authorization", "Bearer s3cret").expect("fine");
        assert_eq!(request.user_agent(), Some("NSPlayer/7.0"));
        assert_eq!(request.headers()[0], ("authorization".to_owned(), "Bearer s3cret".to_owned()));
        assert!(!format!("{request:?}").contains("s3cret") && !request.is_empty());
        for (name, value) in [
            ("X-Key", "s3cret"),
            ("Host", "s3cret"),
            ("User-Agent", "s3cret"),
            ("a b", "s3cret"),
            ("", "s3cret"),
            ("x", "s3cret\r\nHost: h"),
            ("x", ""),
            ("ü", "s3cret"),
        ] {
            let refused = request.add_header(name, value).expect_err(name);
            assert!(!refused.contains("s3cret"), "{refused}");
        }
        assert!(request.set_user_agent("a\nb").is_err());
    }
}
