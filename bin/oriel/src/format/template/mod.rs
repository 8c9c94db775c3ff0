//! Templates of `--format`, in the part of Go's `text/template` that people use.
//!
//! | What | How |
//! |---|---|
//! | fields | `.`, `.A.B`, `$`, `$.A`, `.Label "key"` in listings |
//! | variables | `{{$x := .A}}`, `{{range $i, $x := .List}}` |
//! | control | `if`, `else if`, `else`, `with`, `range`, `end`; `{{-` and `-}}` |
//! | texts | `json`, `join`, `split`, `lower`, `upper`, `title`, `pad`, `truncate` |
//! | printing | `print`, `println`, `printf` (`%s %q %v %d %t %%`) |
//! | other functions | `index`, `len`, `eq ne lt le gt ge`, `and`, `or`, `not` |
//!
//! Not there: `define`, `template`, `block`, `break`, `continue`, `slice`, `html`, `js`,
//! `urlquery`, `call`, and assignment to a variable that exists. Each is an error that says so.
//!
//! [`parse`] makes a tree of [`Node`]s, [`eval`] walks it; neither takes longer than the text and
//! what it loops over.

mod eval;
mod functions;
mod parse;

use std::fmt;

use serde_json::Value;

pub(crate) use eval::LABELS;
use eval::Scope;
pub(crate) use functions::json;
use parse::Node;

/// A template that can be executed many times.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<Node>,
}

/// A template that is not understood, or asks for what is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplateError(String);

impl TemplateError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl std::error::Error for TemplateError {}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--format: {}", self.0)
    }
}

impl Template {
    /// Reads a template. `\t` and `\n` are what they are in Go's texts, as with Docker.
    ///
    /// # Errors
    /// When it is not one.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        parse::parse(text).map(|nodes| Self { nodes })
    }

    /// The text for `value`.
    ///
    /// # Errors
    /// When it asks for a field that is not there, or calls a function with what it cannot take.
    pub(crate) fn execute(&self, value: &Value) -> Result<String, TemplateError> {
        let mut text = String::new();
        Scope::new(value).walk(&self.nodes, value, &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn made(template: &str, value: &Value) -> String {
        match Template::parse(template).and_then(|template| template.execute(value)) {
            Ok(text) => text,
            Err(error) => format!("{error}"),
        }
    }

    #[test]
    fn fields_functions_and_control_are_gos() {
        let value = json!({
            "Name": "/web", "N": 3, "On": true, "None": null, "Labels": {"a.b": "x", "c": "y"},
            "State": {"Status": "running", "Health": null}, "List": ["p", "q"],
            "Ports": {"80/tcp": [{"HostPort": "8080"}]},
        });
        for (template, text) in [
            ("{{.Name}}", "/web"),
            ("a {{ .N }}\\t{{.On}}", "a 3\ttrue"),
            ("{{json .List}}", r#"["p","q"]"#),
            ("{{.List | json}}", r#"["p","q"]"#),
            ("{{.State.Status | upper}}", "RUNNING"),
            ("{{join .List \", \"}}", "p, q"),
            ("{{range .List}}[{{.}}]{{end}}", "[p][q]"),
            ("{{range $i, $x := .List}}{{$i}}={{$x}} {{end}}", "0=p 1=q "),
            ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a.b=x;c=y;"),
            ("{{range .None}}x{{else}}nothing{{end}}", "nothing"),
            ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
            ("{{if eq .N 3}}three{{else if .On}}on{{end}}", "three"),
            ("{{with .State}}{{.Status}}{{$.N}}{{end}}", "running3"),
            ("{{index .Labels \"a.b\"}}", "x"),
            ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
            ("{{index .List 1}}", "q"),
            ("{{len .List}}", "2"),
            ("{{printf \"%s-%d-%q\" .Name .N \"z\"}}", "/web-3-\"z\""),
            ("{{title \"abc def\"}}{{truncate .Name 2}}", "Abc Def/w"),
            ("{{pad .N 1 2}}|", " 3  |"),
            ("{{/* no */}}x  {{- .N -}}  y", "x3y"),
            ("{{$x := .N}}{{$x}}", "3"),
            ("{{and .On .N}} {{or .None \"d\"}} {{not .On}}", "3 d false"),
            ("{{.List}} {{.Labels}} {{.None}}", "[p q] map[a.b:x c:y] <no value>"),
            ("{{gt .N 2}}{{lt .N 2}}{{ne .Name \"x\"}}", "truefalsetrue"),
            ("{{println .N}}", "3\n"),
            ("{{range split \"a,b\" \",\"}}{{.}}.{{end}}", "a.b."),
            ("{{`raw`}}", "raw"),
        ] {
            assert_eq!(made(template, &value), text, "{template}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let value = json!({"Name": "web", "Id": "1"});
        for (template, text) in [
            ("{{.Nmae}}", "there is no field .Nmae; there are .Id, .Name"),
            ("{{.Name", "a {{ is not closed"),
            ("{{if .Name}}x", "an if, with or range has no {{end}}"),
            ("x{{end}}", "{{end}} without"),
            ("{{template \"x\"}}", "\"template\" is not supported"),
            ("{{nosuch .}}", "there is no function \"nosuch\""),
            ("{{index .Name 1}}", "cannot index"),
            ("{{$y}}", "there is no variable $y"),
            ("{{\"open}}", "a text in quotes is not closed"),
        ] {
            let said = made(template, &value);
            assert!(said.contains(text), "{template}: {said}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_break_the_stack() {
        let deep = format!("{{{{{}1{}}}}}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(made(&deep, &Value::Null).contains("too deep"));
        let deep = "{{if 1}}".repeat(10_000);
        assert!(made(&deep, &Value::Null).contains("too deep"));
    }
}
