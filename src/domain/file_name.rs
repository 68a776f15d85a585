//! How the files of talks are called: a template that the user sets, filled with what is known of a talk.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::name::{MAX_FILE_NAME, slug, slug_in};

/// A template such as `{event}/{date}_{time}_{hall}_{title}`. What is filled in is made of lower-case ASCII letters, digits
/// and `-`, so that no title leads out of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileNameTemplate {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Event,
    Date,
    Time,
    Hall,
    Title,
    Id,
    Language,
    Track,
    Code,
}

const FIELDS: [(&str, Field); 9] = [
    ("event", Field::Event),
    ("date", Field::Date),
    ("time", Field::Time),
    ("hall", Field::Hall),
    ("title", Field::Title),
    ("id", Field::Id),
    ("lang", Field::Language),
    ("track", Field::Track),
    ("code", Field::Code),
];

/// The template that is used where none is set.
const DEFAULT: &str = "{event}/{date}_{time}_{hall}_{title}";

/// A field of text may fill so many bytes of a name.
const MAX_FIELD: usize = 80;

/// What a template is filled with.
#[derive(Clone, Copy, Debug)]
pub struct TalkName<'a> {
    /// Folder name of the event.
    pub event: &'a str,
    /// Day of the start, `2010-12-27`.
    pub date: &'a str,
    /// Time of the start, `2030`.
    pub time: &'a str,
    /// Folder name of the hall.
    pub hall: &'a str,
    /// Title of the talk, as the schedule has it.
    pub title: &'a str,
    /// The talk's number.
    pub id: i64,
    /// Language that it is held in.
    pub language: Option<&'a str>,
    /// Track of the conference that the talk belongs to.
    pub track: Option<&'a str>,
    /// Its code in the planning program.
    pub code: Option<&'a str>,
}

impl FileNameTemplate {
    /// True where the user has set none.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.text == DEFAULT
    }

    /// The path below the folder of the talks, without extension. The file's name leaves `spare` bytes for what is added
    /// to it; where it would be too long, the title is cut.
    #[must_use]
    pub fn path(&self, talk: &TalkName<'_>, spare: usize) -> PathBuf {
        let bare = self.fill(talk, 1);
        let used = bare.rsplit('/').next().map_or(0, str::len);
        let room = MAX_FILE_NAME.saturating_sub(used + spare).max(8);
        PathBuf::from(self.fill(talk, room))
    }

    fn fill(&self, talk: &TalkName<'_>, title_room: usize) -> String {
        let or_x = |text: Option<&str>| slug_in(text.unwrap_or_default(), talk.language, MAX_FIELD);
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field(Field::Event) => out.push_str(&slug(talk.event, MAX_FIELD)),
                Part::Field(Field::Date) => out.push_str(talk.date),
                Part::Field(Field::Time) => out.push_str(talk.time),
                Part::Field(Field::Hall) => out.push_str(&slug(talk.hall, MAX_FIELD)),
                Part::Field(Field::Title) => out.push_str(&slug_in(talk.title, talk.language, title_room)),
                Part::Field(Field::Id) => out.push_str(&talk.id.to_string()),
                Part::Field(Field::Language) => out.push_str(&or_x(talk.language)),
                Part::Field(Field::Track) => out.push_str(&or_x(talk.track)),
                Part::Field(Field::Code) => out.push_str(&or_x(talk.code)),
            }
        }
        out
    }
}

impl Default for FileNameTemplate {
    fn default() -> Self {
        let field = |field| Part::Field(field);
        let text = |text: &str| Part::Text(text.to_owned());
        Self {
            text: DEFAULT.to_owned(),
            parts: vec![
                field(Field::Event),
                text("/"),
                field(Field::Date),
                text("_"),
                field(Field::Time),
                text("_"),
                field(Field::Hall),
                text("_"),
                field(Field::Title),
            ],
        }
    }
}

impl fmt::Display for FileNameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for FileNameTemplate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(begin) = rest.find('{') {
            let Some(length) = rest[begin..].find('}') else { return Err("a { has no }".to_owned()) };
            let name = &rest[begin + 1..begin + length];
            let Some((_, field)) = FIELDS.iter().find(|(known, _)| *known == name) else {
                let known: Vec<_> = FIELDS.iter().map(|(name, _)| format!("{{{name}}}")).collect();
                return Err(format!("{{{name}}} is not known: use {}", known.join(", ")));
            };
            if begin > 0 {
                parts.push(Part::Text(rest[..begin].to_owned()));
            }
            parts.push(Part::Field(*field));
            rest = &rest[begin + length + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let literal = |part: &Part| if let Part::Text(text) = part { text.clone() } else { "x".to_owned() };
        let shape: String = parts.iter().map(literal).collect();
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ' | '/');
        if let Some(odd) = shape.chars().find(|c| !fine(*c)) {
            return Err(format!("{odd:?} cannot be in a file's name: use letters, digits, - _ . and spaces"));
        }
        if shape.split('/').any(|name| name.is_empty() || name.starts_with('.') || name.trim() != name) {
            return Err(
                "each name between / must not be empty, begin with a dot, or begin or end with a space".to_owned()
            );
        }
        if shape.len() > 100 {
            return Err("it is too long".to_owned());
        }
        let last = text.rsplit('/').next().unwrap_or_default();
        if !last.contains("{title}") && !last.contains("{id}") {
            return Err("the file's own name needs {title} or {id}".to_owned());
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn talk<'a>(title: &'a str, language: Option<&'a str>) -> TalkName<'a> {
        TalkName {
            event: "27c3",
            date: "2010-12-27",
            time: "2030",
            hall: "saal-1",
            title,
            id: 7,
            language,
            track: Some("Ethics & Society"),
            code: None,
        }
    }

    #[test]
    fn a_template_is_filled() {
        for (template, want) in [
            (DEFAULT, "27c3/2010-12-27_2030_saal-1_gruesse-aus-koeln"),
            ("{event}/{track}/{id} {title}", "27c3/ethics-society/7 gruesse-aus-koeln"),
            ("{hall}.{lang}.{id}", "saal-1.de.7"),
            ("flat-{title}-{code}", "flat-gruesse-aus-koeln-x"),
        ] {
            let template: FileNameTemplate = template.parse().expect("a template");
            assert_eq!(template.path(&talk("Grüße aus Köln", Some("de")), 10).to_string_lossy(), want);
        }
        assert_eq!(DEFAULT.parse(), Ok(FileNameTemplate::default()));
        assert!(FileNameTemplate::default().is_default());
    }

    #[test]
    fn what_would_lead_elsewhere_is_refused() {
        for bad in [
            "",
            "{event}",
            "/{title}",
            "{title}/",
            "../{title}",
            "a/../{title}",
            ".{title}",
            "{title",
            "{nothing}",
            "{event}/{title}/x",
            "{title}\0",
            "{title}\n",
            "a:{title}",
            " {title}",
            "{event}//{title}",
            "{title}/{event}",
        ] {
            assert!(bad.parse::<FileNameTemplate>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_title_leads_out_or_is_too_long(title in any::<String>(), spare in 0_usize..60) {
            let path = FileNameTemplate::default().path(&talk(&title, None), spare);
            prop_assert_eq!(path.components().count(), 2);
            let name = path.file_name().map(std::ffi::OsStr::len).unwrap_or_default();
            prop_assert!(name + spare <= MAX_FILE_NAME, "{path:?}");
        }
    }
}
