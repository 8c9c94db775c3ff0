//! What a log tells of its container besides its output: the options `labels`, `labels-regex`,
//! `env`, `env-regex` and `tag`, which `docker logs --details` shows.

use std::collections::BTreeMap;

use regex::Regex;

use crate::{ContainerView, EngineError, Spec};

/// Most bytes of attributes with each record; what a client names beyond is left out.
const MOST: usize = 32 << 10;

/// Names that a tag may use, as `{{.Name}}`.
const NAMES: [&str; 8] =
    ["ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "Command", "DaemonName"];

/// What the options ask for.
pub(super) struct Wanted<'a> {
    labels: Choice<'a>,
    variables: Choice<'a>,
    tag: Vec<Part<'a>>,
}

/// Keys that are wanted.
struct Choice<'a> {
    names: &'a str,
    pattern: Option<Regex>,
}

/// Piece of a tag.
enum Part<'a> {
    Text(&'a str),
    Name(&'static str),
}

impl<'a> Wanted<'a> {
    /// Reads the options.
    ///
    /// # Errors
    /// `Invalid` for a pattern or a tag that is none.
    pub(super) fn parse(options: &'a BTreeMap<String, String>) -> Result<Self, EngineError> {
        let option = |name: &str| options.get(name).map_or("", String::as_str);
        Ok(Self {
            labels: Choice {
                names: option("labels"),
                pattern: pattern("labels-regex", option("labels-regex"))?,
            },
            variables: Choice {
                names: option("env"),
                pattern: pattern("env-regex", option("env-regex"))?,
            },
            tag: tag(option("tag"))?,
        })
    }

    /// What they come to for a container, sorted.
    fn of(&self, id: &str, name: &str, spec: &Spec) -> BTreeMap<String, String> {
        let labels = spec.run.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let variables = spec.run.env.iter().filter_map(|variable| variable.split_once('='));
        let wanted = labels
            .filter(|(key, _)| self.labels.takes(key))
            .chain(variables.filter(|(key, _)| self.variables.takes(key)));
        let mut found: BTreeMap<String, String> =
            wanted.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        if !self.tag.is_empty() {
            let tag = self.tag.iter().map(|part| part.of(id, name, spec)).collect();
            found.insert("tag".to_owned(), tag);
        }
        let mut room = MOST;
        found.retain(|key, value| {
            let left = room.checked_sub(key.len() + value.len());
            room = left.unwrap_or(room);
            left.is_some()
        });
        found
    }
}

impl Choice<'_> {
    fn takes(&self, key: &str) -> bool {
        self.names.split(',').any(|name| name == key)
            || self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(key))
    }
}

impl Part<'_> {
    fn of(&self, id: &str, name: &str, spec: &Spec) -> String {
        let short = |text: &str| text.get(..12).unwrap_or(text).to_owned();
        match self {
            Self::Text(text) => (*text).to_owned(),
            Self::Name("ID") => short(id),
            Self::Name("FullID") => id.to_owned(),
            Self::Name("Name") => name.to_owned(),
            Self::Name("ImageID") => short(&spec.image_id),
            Self::Name("ImageFullID") => spec.image_id.clone(),
            Self::Name("ImageName") => spec.image.clone(),
            Self::Name("Command") => {
                let words = std::iter::once(&spec.path).chain(&spec.args);
                words.map(String::as_str).collect::<Vec<_>>().join(" ")
            }
            // Docker's name of a daemon.
            Self::Name(_) => "docker".to_owned(),
        }
    }
}

fn pattern(option: &str, text: &str) -> Result<Option<Regex>, EngineError> {
    if text.is_empty() {
        return Ok(None);
    }
    let read = Regex::new(text);
    read.map(Some)
        .map_err(|error| EngineError::invalid(format!("invalid log opt {option}: {error}")))
}

fn tag(mut text: &str) -> Result<Vec<Part<'_>>, EngineError> {
    let mut parts = Vec::new();
    while let Some((before, rest)) = text.split_once("{{") {
        let named = rest.split_once("}}").and_then(|(inside, after)| {
            let word = inside.trim().strip_prefix('.')?;
            Some((NAMES.into_iter().find(|name| *name == word)?, after))
        });
        let Some((name, after)) = named else {
            let names = NAMES.join("}}, {{.");
            return Err(EngineError::invalid(format!(
                "invalid log opt tag: {{{{{rest} does not begin with one of {{{{.{names}}}}}"
            )));
        };
        parts.extend([Part::Text(before), Part::Name(name)]);
        text = after;
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

/// What the log of a container tells besides its output. Options that cannot be read any more tell
/// nothing.
pub(super) fn attributes(id: &str, name: &str, spec: &Spec) -> BTreeMap<String, String> {
    let wanted = Wanted::parse(&spec.host.log_options);
    wanted.map(|wanted| wanted.of(id, name, spec)).unwrap_or_default()
}

impl ContainerView {
    /// What its log tells besides its output, sorted by name.
    #[must_use]
    pub fn log_attributes(&self) -> BTreeMap<String, String> {
        attributes(&self.id, &self.name, &self.spec)
    }
}

#[cfg(test)]
mod tests {
    use oriel_hcs::CommandLine;
    use oriel_image::RunConfig;

    use super::*;
    use crate::{HostOptions, StreamOptions};

    fn spec(options: &[(&str, &str)]) -> Spec {
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let run = RunConfig {
            labels: pairs(&[("app", "web"), ("tier", "front"), ("x", "1")]),
            env: ["STAGE=test", "PATH=C:\\", "x=2"].map(str::to_owned).to_vec(),
            ..RunConfig::default()
        };
        Spec {
            image: "nanoserver".to_owned(),
            image_id: "sha256:0123456789".to_owned(),
            hostname: String::new(),
            domain_name: String::new(),
            run,
            command: CommandLine::Arguments(Vec::new()),
            path: "cmd".to_owned(),
            args: vec!["/c".to_owned()],
            stop_timeout: None,
            streams: StreamOptions::default(),
            host: HostOptions { log_options: pairs(options), ..HostOptions::default() },
        }
    }

    fn told(options: &[(&str, &str)]) -> Vec<String> {
        let found = attributes(&"ab".repeat(32), "one", &spec(options));
        found.into_iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    #[test]
    fn labels_and_variables_are_told_by_name_or_pattern() {
        assert_eq!(told(&[]), Vec::<String>::new());
        assert_eq!(
            told(&[("labels", "app,none,x"), ("env", "STAGE")]),
            ["STAGE=test", "app=web", "x=1"]
        );
        assert_eq!(
            told(&[("labels-regex", "^(app|ti)"), ("env-regex", "^x$")]),
            ["app=web", "tier=front", "x=2"]
        );
    }

    #[test]
    fn a_tag_names_parts_of_the_container() {
        let tag = "{{.ID}}/{{ .Name }} {{.ImageName}}";
        assert_eq!(told(&[("tag", tag)]), ["tag=abababababab/one nanoserver"]);
        assert_eq!(told(&[("tag", "{{.Command}}")]), ["tag=cmd /c"]);
        for tag in ["{{.ID", "{{range .Name}}", "{{}}"] {
            assert!(super::tag(tag).is_err(), "{tag}");
        }
    }

    #[test]
    fn attributes_are_bounded() {
        let mut spec = spec(&[("labels", "a,b,c")]);
        for name in ["a", "b"] {
            spec.run.labels.insert(name.to_owned(), "x".repeat(MOST / 2));
        }
        spec.run.labels.insert("c".to_owned(), "small".to_owned());
        let found: Vec<_> = attributes("id", "n", &spec).into_keys().collect();
        assert_eq!(found, ["a", "c"]);
    }
}
