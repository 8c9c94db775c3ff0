//! Walking a template's tree over a value.

use std::borrow::Cow;

use serde_json::Value;

use super::{
    TemplateError,
    functions::{self, is_true, shown},
    parse::{Command, Node, Operand, Pipe},
};

/// What a value is while a template is executed: often a part of what it is executed on.
pub(super) type Evaluated<'v> = Cow<'v, Value>;

/// The key under which a listing keeps its labels for `.Label`; no template can name it.
pub(crate) const LABELS: &str = "\0labels";

/// Variables that are known here.
pub(super) struct Scope<'v> {
    root: &'v Value,
    variables: Vec<(String, Value)>,
    /// Whether a field of the root may be absent: in conditions.
    lenient: bool,
}

impl<'v> Scope<'v> {
    pub(super) fn new(root: &'v Value) -> Self {
        Self { root, variables: Vec::new(), lenient: false }
    }

    /// Writes what the nodes say with `dot` as dot.
    pub(super) fn walk(
        &mut self,
        nodes: &[Node],
        dot: &Value,
        text: &mut String,
    ) -> Result<(), TemplateError> {
        let known = self.variables.len();
        for node in nodes {
            match node {
                Node::Text(plain) => text.push_str(plain),
                Node::Show(pipe) => text.push_str(&shown(&*self.pipe(pipe, dot)?)),
                Node::Set(name, pipe) => {
                    let value = self.pipe(pipe, dot)?.into_owned();
                    self.variables.push((name.clone(), value));
                }
                Node::If(pipe, body, other) => {
                    let chosen = if is_true(&*self.condition(pipe, dot)?) { body } else { other };
                    self.walk(chosen, dot, text)?;
                }
                Node::With(pipe, body, other) => {
                    let value = self.condition(pipe, dot)?.into_owned();
                    match is_true(&value) {
                        true => self.walk(body, &value, text)?,
                        false => self.walk(other, dot, text)?,
                    }
                }
                Node::Range { .. } => self.range(node, dot, text)?,
            }
        }
        self.variables.truncate(known);
        Ok(())
    }

    fn range(&mut self, node: &Node, dot: &Value, text: &mut String) -> Result<(), TemplateError> {
        let Node::Range { over, key, value, body, other } = node else { return Ok(()) };
        let list: Vec<(Value, Value)> = match self.condition(over, dot)?.into_owned() {
            Value::Array(list) => {
                list.into_iter().enumerate().map(|(at, value)| (Value::from(at), value)).collect()
            }
            Value::Object(map) => {
                map.into_iter().map(|(key, value)| (Value::from(key), value)).collect()
            }
            Value::Null => Vec::new(),
            value => {
                let text = format!("cannot range over {}", shown(&value));
                return Err(TemplateError::new(text));
            }
        };
        if list.is_empty() {
            return self.walk(other, dot, text);
        }
        for (index, item) in list {
            let known = self.variables.len();
            if let Some(name) = key {
                self.variables.push((name.clone(), index));
            }
            if let Some(name) = value {
                self.variables.push((name.clone(), item.clone()));
            }
            self.walk(body, &item, text)?;
            self.variables.truncate(known);
        }
        Ok(())
    }

    /// A pipe whose value may be absent.
    fn condition<'d>(&mut self, pipe: &Pipe, dot: &'d Value) -> Result<Evaluated<'d>, TemplateError>
    where
        'v: 'd,
    {
        let before = std::mem::replace(&mut self.lenient, true);
        let value = self.pipe(pipe, dot);
        self.lenient = before;
        value
    }

    fn pipe<'d>(&mut self, pipe: &Pipe, dot: &'d Value) -> Result<Evaluated<'d>, TemplateError>
    where
        'v: 'd,
    {
        let mut last = None;
        for command in pipe {
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.unwrap_or(Cow::Owned(Value::Null)))
    }

    fn command<'d>(
        &mut self,
        command: &Command,
        dot: &'d Value,
        piped: Option<Evaluated<'d>>,
    ) -> Result<Evaluated<'d>, TemplateError>
    where
        'v: 'd,
    {
        let Some((first, rest)) = command.split_first() else {
            return Ok(Cow::Owned(Value::Null));
        };
        let is_test =
            matches!(first, Operand::Name(name) if matches!(name.as_str(), "and" | "or" | "not"));
        let before = self.lenient;
        self.lenient |= is_test;
        let arguments = rest.iter().map(|operand| self.operand(operand, dot));
        let arguments = arguments.collect::<Result<Vec<_>, _>>();
        self.lenient = before;
        let mut arguments = arguments?;
        arguments.extend(piped);
        match first {
            Operand::Name(name) => {
                let arguments: Vec<Value> = arguments.into_iter().map(Cow::into_owned).collect();
                functions::call(name, &arguments).map(Cow::Owned)
            }
            Operand::Field(path) if path == &["Label"] && arguments.len() == 1 => {
                let key = shown(&arguments[0]);
                Ok(Cow::Owned(dot[LABELS].get(&key).cloned().unwrap_or_else(|| "".into())))
            }
            operand if arguments.is_empty() => self.operand(operand, dot),
            _ => Err(TemplateError::new("only functions take arguments")),
        }
    }

    fn operand<'d>(
        &mut self,
        operand: &Operand,
        dot: &'d Value,
    ) -> Result<Evaluated<'d>, TemplateError>
    where
        'v: 'd,
    {
        match operand {
            Operand::Field(path) => self.fields(Cow::Borrowed(dot), path),
            Operand::Variable(name, path) => {
                let value = self.variable(name)?;
                self.fields(value, path)
            }
            Operand::Name(name) => functions::call(name, &[]).map(Cow::Owned),
            Operand::Text(text) => Ok(Cow::Owned(text.as_str().into())),
            Operand::Number(number) => Ok(Cow::Owned((*number).into())),
            Operand::Constant(value) => Ok(Cow::Owned(Value::from(*value))),
            Operand::Group(pipe, path) => {
                let value = self.pipe(pipe, dot)?;
                self.fields(value, path)
            }
        }
    }

    fn variable<'d>(&self, name: &str) -> Result<Evaluated<'d>, TemplateError>
    where
        'v: 'd,
    {
        if name.is_empty() {
            return Ok(Cow::Borrowed(self.root));
        }
        let found = self.variables.iter().rev().find(|(known, _)| known == name);
        let missing = || TemplateError::new(format!("there is no variable ${name}"));
        found.map(|(_, value)| Cow::Owned(value.clone())).ok_or_else(missing)
    }

    fn fields<'d>(
        &self,
        value: Evaluated<'d>,
        path: &[String],
    ) -> Result<Evaluated<'d>, TemplateError> {
        let mut value = value;
        for name in path {
            let is_root = std::ptr::eq(&raw const *value, self.root);
            let found = match &value {
                Cow::Borrowed(value) => value.get(name).map(Cow::Borrowed),
                Cow::Owned(value) => value.get(name).cloned().map(Cow::Owned),
            };
            value = match found {
                Some(found) => found,
                None if is_root && !self.lenient => return Err(no_field(&value, name)),
                None => Cow::Owned(Value::Null),
            };
        }
        Ok(value)
    }
}

fn no_field(value: &Value, name: &str) -> TemplateError {
    let known: Vec<String> = match value {
        Value::Object(map) => {
            map.keys().filter(|key| *key != LABELS).map(|key| format!(".{key}")).collect()
        }
        _ => Vec::new(),
    };
    TemplateError::new(match known.is_empty() {
        true => format!("there is no field .{name}"),
        false => format!("there is no field .{name}; there are {}", known.join(", ")),
    })
}
