//! Where a schedule is: as a user writes it, and as it is stored.

use std::path::{Path, PathBuf};

use url::Url;

use super::FetchError;
use crate::domain::stream_url::redact_text;
use crate::domain::text::{one_line, shortened};

/// Where a schedule, a schedule.xml or a halls file is.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// `-`: the schedule is read from standard input.
    StandardInput,
    /// A file, by its absolute path.
    File(PathBuf),
    /// http or https; may hold a password.
    Web(Url),
}

impl Place {
    /// Reads what a user wrote. A path is made absolute.
    ///
    /// # Errors
    /// When it is a URL of another scheme.
    pub fn parse(text: &str) -> Result<Self, FetchError> {
        if text == "-" {
            return Ok(Self::StandardInput);
        }
        // What calendars are subscribed by: http under another name, and https where that is said.
        let http = ["webcal://", "webcals://"].into_iter().zip(["http://", "https://"]).find_map(|(scheme, web)| {
            let (begin, rest) = text.split_at_checked(scheme.len())?;
            begin.eq_ignore_ascii_case(scheme).then(|| format!("{web}{rest}"))
        });
        let text = http.as_deref().unwrap_or(text);
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => return Ok(Self::Web(url)),
            // A file may have a colon in its name; `x://` is meant as an address.
            Ok(_) if text.contains("://") => {
                return Err(FetchError::Scheme(shortened(&one_line(&redact_text(text)), 80)));
            }
            _ => {}
        }
        let path = std::path::absolute(text)
            .map_err(|e| FetchError::File { path: PathBuf::from(text), why: e.to_string() })?;
        Ok(Self::File(path))
    }

    /// As it is stored, to be read again: an absolute path or a URL; `None` for standard input.
    #[must_use]
    pub fn stored(&self) -> Option<String> {
        match self {
            Self::StandardInput => None,
            Self::File(path) => Some(path.to_string_lossy().into_owned()),
            Self::Web(url) => Some(url.to_string()),
        }
    }

    /// The file's name without its ending: `27c3` of `/x/27c3.ics` and of `https://h/27c3.ics?x`.
    #[must_use]
    pub fn stem(&self) -> Option<String> {
        let name = match self {
            Self::StandardInput => return None,
            Self::File(path) => path.file_name()?.to_string_lossy().into_owned(),
            Self::Web(url) => url.path_segments()?.rfind(|s| !s.is_empty())?.to_owned(),
        };
        let stem = Path::new(&name).file_stem()?.to_string_lossy();
        Some(one_line(&stem)).filter(|s| !s.is_empty())
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::StandardInput => f.write_str("standard input"),
            Self::File(path) => path.display().fmt(f),
            Self::Web(url) => f.write_str(&redact_text(url.as_str())),
        }
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Place({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        for (text, stem) in [
            ("/x/27c3.ics", Some("27c3")),
            ("https://h/27c3.ics?x=1", Some("27c3")),
            ("https://h/schedule/export/schedule.ics", Some("schedule")),
            ("https://h/", None),
            ("/x/a b.c.ics", Some("a b.c")),
            ("-", None),
        ] {
            assert_eq!(Place::parse(text).expect(text).stem().as_deref(), stem, "{text}");
        }
        assert!(matches!(Place::parse("x:y.ics"), Ok(Place::File(_))));
        for bad in ["file:///etc/passwd", "ftp://u:s3cret@h/x.ics"] {
            let refused = Place::parse(bad).expect_err(bad).to_string();
            assert!(!refused.contains("s3cret"));
        }
        let place = Place::parse("http://me:s3cret@h/x.ics").expect("url");
        assert!(!format!("{place} {place:?}").contains("s3cret"));
        assert!(place.stored().is_some_and(|s| s.contains("s3cret")));
    }
}
