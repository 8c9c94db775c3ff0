//! The functions of templates, and how values are written.

use std::cmp::Ordering;

use serde_json::Value;

use super::{TemplateError, eval::LABELS};

/// Widest that `pad` and `truncate` go.
const WIDEST: i64 = 10_000;

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    let text = |at: usize| arguments.get(at).map(shown).unwrap_or_default();
    let number = |at: usize| arguments.get(at).and_then(Value::as_i64).unwrap_or(0);
    let width = |at: usize| usize::try_from(number(at).clamp(0, WIDEST)).unwrap_or(0);
    need(name, arguments.len())?;
    Ok(match name {
        "json" => json(&arguments[0]).into(),
        "join" => join(&arguments[0], &text(1)).into(),
        "split" => text(0).split(&text(1)).map(Value::from).collect(),
        "lower" => text(0).to_lowercase().into(),
        "upper" => text(0).to_uppercase().into(),
        "title" => title(&text(0)).into(),
        "pad" => format!("{}{}{}", " ".repeat(width(1)), text(0), " ".repeat(width(2))).into(),
        "truncate" => text(0).chars().take(width(1)).collect::<String>().into(),
        "print" => arguments.iter().map(shown).collect::<String>().into(),
        "println" => {
            let words: Vec<_> = arguments.iter().map(shown).collect();
            format!("{}\n", words.join(" ")).into()
        }
        "printf" => printf(&text(0), &arguments[1..])?.into(),
        "index" => arguments[1..].iter().try_fold(arguments[0].clone(), index)?,
        "len" => length(&arguments[0])?.into(),
        "eq" => arguments[1..].iter().any(|other| compare(&arguments[0], other).is_eq()).into(),
        "ne" => compare(&arguments[0], &arguments[1]).is_ne().into(),
        "lt" => compare(&arguments[0], &arguments[1]).is_lt().into(),
        "le" => compare(&arguments[0], &arguments[1]).is_le().into(),
        "gt" => compare(&arguments[0], &arguments[1]).is_gt().into(),
        "ge" => compare(&arguments[0], &arguments[1]).is_ge().into(),
        "and" => chosen(arguments, |value| !is_true(value)),
        "or" => chosen(arguments, is_true),
        "not" => (!is_true(&arguments[0])).into(),
        _ => {
            let text = format!("there is no function {name:?}; see the list in docs/cli.md");
            return Err(TemplateError::new(text));
        }
    })
}

/// Refuses calls with too few arguments.
fn need(name: &str, given: usize) -> Result<(), TemplateError> {
    let least = match name {
        "join" | "split" | "truncate" | "eq" | "ne" | "lt" | "le" | "gt" | "ge" => 2,
        "pad" => 3,
        "print" | "println" => 0,
        _ => 1,
    };
    match given >= least {
        true => Ok(()),
        false => Err(TemplateError::new(format!("{name:?} needs {least} arguments"))),
    }
}

/// A value as Go's templates write it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let pairs: Vec<_> = map.iter().map(|(k, v)| format!("{k}:{}", shown(v))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

/// Go's idea of truth: not zero, not empty, not absent.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// JSON, without what listings keep for themselves.
pub(crate) fn json(value: &Value) -> String {
    match value {
        Value::Object(map) if map.contains_key(LABELS) => {
            let mut map = map.clone();
            map.remove(LABELS);
            Value::Object(map).to_string()
        }
        other => other.to_string(),
    }
}

fn chosen(arguments: &[Value], stops: impl Fn(&Value) -> bool) -> Value {
    let found = arguments.iter().find(|value| stops(value));
    found.or(arguments.last()).cloned().unwrap_or_default()
}

fn join(list: &Value, between: &str) -> String {
    match list {
        Value::Array(list) => list.iter().map(shown).collect::<Vec<_>>().join(between),
        other => shown(other),
    }
}

fn title(text: &str) -> String {
    let mut begins = true;
    text.chars()
        .flat_map(|c| {
            let first = std::mem::replace(&mut begins, c.is_whitespace());
            if first { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] }
        })
        .collect()
}

fn index(value: Value, at: &Value) -> Result<Value, TemplateError> {
    match (&value, at) {
        (Value::Null, _) => Ok(Value::Null),
        (Value::Object(map), Value::String(key)) => Ok(map.get(key).cloned().unwrap_or_default()),
        (Value::Array(list), Value::Number(number)) => {
            let found = number.as_u64().and_then(|at| list.get(usize::try_from(at).ok()?));
            let outside = || TemplateError::new(format!("there is no element {number}"));
            found.cloned().ok_or_else(outside)
        }
        _ => {
            let text = format!("cannot index {} with {}", shown(&value), shown(at));
            Err(TemplateError::new(text))
        }
    }
}

fn length(value: &Value) -> Result<usize, TemplateError> {
    match value {
        Value::Null => Ok(0),
        Value::String(text) => Ok(text.len()),
        Value::Array(list) => Ok(list.len()),
        Value::Object(map) => Ok(map.len()),
        other => Err(TemplateError::new(format!("{} has no length", shown(other)))),
    }
}

fn compare(left: &Value, right: &Value) -> Ordering {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left.total_cmp(&right),
        _ => shown(left).cmp(&shown(right)),
    }
}

fn printf(format: &str, arguments: &[Value]) -> Result<String, TemplateError> {
    let mut text = String::new();
    let mut arguments = arguments.iter();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let verb = chars.next();
        if verb == Some('%') {
            text.push('%');
            continue;
        }
        let Some(value) = arguments.next() else {
            return Err(TemplateError::new("printf has too few values"));
        };
        match verb {
            Some('s' | 'v' | 'd' | 't') => text.push_str(&shown(value)),
            Some('q') => text.push_str(&Value::from(shown(value)).to_string()),
            _ => return Err(TemplateError::new("printf knows %s, %v, %d, %t, %q and %%")),
        }
    }
    Ok(text)
}
