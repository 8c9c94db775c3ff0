//! From a template's text to its tree.

use super::TemplateError;

/// How deep blocks and parentheses may be nested; people write three.
const DEEPEST: usize = 64;

/// A part of a template.
#[derive(Debug)]
pub(super) enum Node {
    /// Text as it is.
    Text(String),
    /// `{{pipeline}}`
    Show(Pipe),
    /// `{{$x := pipeline}}`
    Set(String, Pipe),
    /// `{{if}}` with what else.
    If(Pipe, Vec<Self>, Vec<Self>),
    /// `{{with}}` with what else.
    With(Pipe, Vec<Self>, Vec<Self>),
    /// `{{range $key, $value := pipeline}}` with what else.
    Range {
        over: Pipe,
        key: Option<String>,
        value: Option<String>,
        body: Vec<Self>,
        other: Vec<Self>,
    },
}

/// Commands, each of which gets the value of the one before as its last argument.
pub(super) type Pipe = Vec<Command>;

/// A function or value, with its arguments.
pub(super) type Command = Vec<Operand>;

/// A value.
#[derive(Debug)]
pub(super) enum Operand {
    /// `.A.B`; without names the dot itself.
    Field(Vec<String>),
    /// `$x.A`
    Variable(String, Vec<String>),
    /// A function's name.
    Name(String),
    /// Text.
    Text(String),
    /// A number.
    Number(i64),
    /// `true`, `false` or `nil`.
    Constant(Option<bool>),
    /// `(pipeline).A`
    Group(Pipe, Vec<String>),
}

/// A piece of the text: as it is, or the inside of `{{ }}`.
enum Piece<'a> {
    Text(String),
    Action(&'a str),
}

/// Reads a template.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, TemplateError> {
    let mut blocks = Blocks { pieces: pieces(text)?.into_iter(), depth: 0 };
    match blocks.block()? {
        (nodes, None) => Ok(nodes),
        (_, Some(end)) => Err(error(format!("{{{{{end}}}}} without an if, with or range"))),
    }
}

fn error(text: impl Into<String>) -> TemplateError {
    TemplateError::new(text)
}

fn pieces(mut text: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let mut pieces = Vec::new();
    let mut trim = false;
    loop {
        let (before, rest) = match text.split_once("{{") {
            Some((before, rest)) => (before, Some(rest)),
            None => (text, None),
        };
        let before = if trim { before.trim_start() } else { before };
        let trims = rest.is_some_and(|rest| rest.starts_with("- "));
        let before = if trims { before.trim_end() } else { before };
        pieces.push(Piece::Text(before.replace("\\t", "\t").replace("\\n", "\n")));
        let Some(rest) = rest else { return Ok(pieces) };
        let rest = if trims { &rest[1..] } else { rest };
        let end = action_end(rest)?;
        let action = &rest[..end];
        trim = action.ends_with(" -");
        pieces.push(Piece::Action(action.strip_suffix(" -").unwrap_or(action).trim()));
        text = &rest[end + 2..];
    }
}

/// Where an action ends: at the first `}}` outside of quotes.
fn action_end(text: &str) -> Result<usize, TemplateError> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if text[at..].starts_with("}}") => return Ok(at),
            None => {}
        }
    }
    Err(error(match quote {
        Some(_) => "a text in quotes is not closed",
        None => "a {{ is not closed",
    }))
}

struct Blocks<'a> {
    pieces: std::vec::IntoIter<Piece<'a>>,
    depth: usize,
}

impl<'a> Blocks<'a> {
    /// Nodes up to the end of the text, or up to `end` or `else`, which comes with them.
    fn block(&mut self) -> Result<(Vec<Node>, Option<&'a str>), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let action = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(action) => action,
            };
            let (word, rest) = action.split_once(' ').unwrap_or((action, ""));
            match word {
                "end" | "else" => return Ok((nodes, Some(action))),
                "if" | "with" | "range" => nodes.push(self.control(word, rest.trim())?),
                "define" | "template" | "block" | "break" | "continue" => {
                    return Err(error(format!("{word:?} is not supported")));
                }
                _ if action.starts_with("/*") => {}
                _ => nodes.push(simple(action)?),
            }
        }
        Ok((nodes, None))
    }

    fn control(&mut self, word: &str, head: &str) -> Result<Node, TemplateError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(error("blocks are nested too deep"));
        }
        let (body, end) = self.block()?;
        let other = match end {
            Some("end") => Vec::new(),
            Some(end) => self.other(end)?,
            None => return Err(error("an if, with or range has no {{end}}")),
        };
        self.depth -= 1;
        let (names, pipe) = declared(head);
        let over = pipeline(pipe)?;
        let mut names = names.into_iter();
        match (word, names.next(), names.next()) {
            ("range", Some(key), Some(value)) => {
                Ok(Node::Range { over, key: Some(key), value: Some(value), body, other })
            }
            ("range", value, None) => Ok(Node::Range { over, key: None, value, body, other }),
            ("if", None, None) => Ok(Node::If(over, body, other)),
            ("with", None, None) => Ok(Node::With(over, body, other)),
            _ => Err(error(format!("a variable in {word:?} is not supported"))),
        }
    }

    /// What stands after `else`, or `else if ...`.
    fn other(&mut self, end: &str) -> Result<Vec<Node>, TemplateError> {
        let rest = end.strip_prefix("else").unwrap_or_default().trim();
        if let Some((word @ ("if" | "with"), head)) = rest.split_once(' ') {
            return Ok(vec![self.control(word, head.trim())?]);
        }
        match self.block()? {
            (nodes, Some("end")) if rest.is_empty() => Ok(nodes),
            _ => Err(error("an else is not followed by {{end}}")),
        }
    }
}

fn simple(action: &str) -> Result<Node, TemplateError> {
    let (mut names, pipe) = declared(action);
    match names.len() {
        0 => Ok(Node::Show(pipeline(pipe)?)),
        1 => Ok(Node::Set(names.remove(0), pipeline(pipe)?)),
        _ => Err(error(format!("{action:?} is not understood"))),
    }
}

/// Variables before `:=`, and the rest.
fn declared(action: &str) -> (Vec<String>, &str) {
    if let Some((names, pipe)) = action.split_once(":=")
        && names.trim_start().starts_with('$')
    {
        let names = names.split(',').map(|name| name.trim().trim_start_matches('$').to_owned());
        return (names.collect(), pipe);
    }
    (Vec::new(), action)
}

fn pipeline(text: &str) -> Result<Pipe, TemplateError> {
    let mut reader = Reader { rest: text, depth: 0 };
    let pipe = reader.pipe()?;
    match reader.rest.trim() {
        "" => Ok(pipe),
        rest => Err(error(format!("{rest:?} is not understood"))),
    }
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl Reader<'_> {
    fn pipe(&mut self) -> Result<Pipe, TemplateError> {
        let mut pipe = vec![Vec::new()];
        loop {
            self.rest = self.rest.trim_start();
            let command = pipe.last_mut().expect("a pipe begins with a command");
            match self.rest.chars().next() {
                None | Some(')') => break,
                Some('|') => {
                    self.rest = &self.rest[1..];
                    pipe.push(Vec::new());
                }
                Some(_) => command.push(self.operand()?),
            }
        }
        match pipe.iter().any(Vec::is_empty) {
            true => Err(error("a value is missing")),
            false => Ok(pipe),
        }
    }

    fn operand(&mut self) -> Result<Operand, TemplateError> {
        match self.rest.chars().next() {
            Some('(') => self.group(),
            Some('.') => Ok(Operand::Field(self.fields())),
            Some('$') => {
                self.rest = &self.rest[1..];
                let name = self.word();
                Ok(Operand::Variable(name, self.fields()))
            }
            Some(quote @ ('"' | '`')) => self.quoted(quote),
            Some(c) if c == '-' || c.is_ascii_digit() => {
                let digits = self.word();
                let number = digits.parse().map_err(|_| error(format!("{digits:?} is no number")));
                Ok(Operand::Number(number?))
            }
            _ => self.name(),
        }
    }

    fn name(&mut self) -> Result<Operand, TemplateError> {
        let word = self.word();
        Ok(match word.as_str() {
            "" => return Err(error(format!("{:?} is not understood", self.rest))),
            "true" => Operand::Constant(Some(true)),
            "false" => Operand::Constant(Some(false)),
            "nil" => Operand::Constant(None),
            _ => Operand::Name(word),
        })
    }

    fn group(&mut self) -> Result<Operand, TemplateError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(error("parentheses are nested too deep"));
        }
        self.rest = &self.rest[1..];
        let pipe = self.pipe()?;
        let Some(rest) = self.rest.strip_prefix(')') else {
            return Err(error("a ( is not closed"));
        };
        self.rest = rest;
        self.depth -= 1;
        Ok(Operand::Group(pipe, self.fields()))
    }

    /// `.A.B`, or nothing.
    fn fields(&mut self) -> Vec<String> {
        let mut fields = Vec::new();
        while let Some(rest) = self.rest.strip_prefix('.') {
            self.rest = rest;
            match self.word() {
                word if word.is_empty() => break,
                word => fields.push(word),
            }
        }
        fields
    }

    fn word(&mut self) -> String {
        let part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let end = self.rest.find(|c| !part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_owned()
    }

    fn quoted(&mut self, quote: char) -> Result<Operand, TemplateError> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(Operand::Text(text));
                }
                '\\' if quote == '"' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, other)) => text.push(other),
                    None => break,
                },
                c => text.push(c),
            }
        }
        Err(error("a text in quotes is not closed"))
    }
}
