//! The registry of containers and images, for people: looked at, exported, changed, compared.
//!
//! Whether there is such a target and key is found before the answer begins. From then on the
//! answer comes bit by bit, and one that cannot be ended breaks off.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use hyper::Method;
use oriel_api::registry::{
    ChangeKind, Data, DifferenceLine, PathChange, RegistryData, RegistryImported, RegistryKey,
    RegistryLine, RegistryValue, ValueChange,
};
use oriel_engine::{
    Difference, Engine, EngineError, KeyName, RegistryView, Step, link_target, walk,
};
use oriel_hive::reg::{self, Encoding, RegError, Writer};
use oriel_hive::{Delta, DeltaKey, Key, Semantics, Value, ValueKind, WideString};
use oriel_image::{ChangeKind as FileChange, Reference};
use serde::Serialize;
use tokio::sync::oneshot;

use super::unknown;
use crate::http::{
    Answer, BodyWriter, Call, HttpError, body_writer, chain, ok, received, streamed,
};

/// Keys on a page unless the client says otherwise, and the most.
const PAGE: usize = 1000;
const LONGEST_PAGE: usize = 100_000;

/// A page ends after this many bytes of values, however few keys that are.
const PAGE_BYTES: usize = 4 << 20;

/// As much of an answer is gathered before it is sent.
const BUFFER: usize = 32 << 10;

/// The trees of a difference: where they are to programs.
const ROOTS: [&str; 3] = ["HKEY_LOCAL_MACHINE", r"HKEY_USERS\.DEFAULT", "HKEY_CURRENT_USER"];

pub(crate) async fn dispatch(call: Call, method: &Method, segments: &[&str]) -> Answer {
    match (method.as_str(), segments) {
        ("GET", []) => keys(&call).await,
        ("GET", ["export"]) => export(&call).await,
        ("POST", ["import"]) => import(call).await,
        _ => unknown(),
    }
}

/// `GET /oriel/registry?target=&key=&depth=&limit=&after=&values=&value=`
async fn keys(call: &Call) -> Answer {
    let query = &call.query;
    let name = key_name(call)?;
    let page = Page {
        after: query.non_empty("after").map(parse_place).transpose()?,
        depth: query.integer("depth")?.unwrap_or(usize::MAX),
        limit: query.integer("limit")?.unwrap_or(PAGE).clamp(1, LONGEST_PAGE),
        values: query.flag_or("values", true),
        only: query.value("value").map(str::to_owned),
    };
    let view = call.daemon.engine.registry_view(target(call)?).await?;
    view.key(&name)?;
    bit_by_bit(&call.daemon.engine, "application/x-ndjson", move |out| {
        page.write(&view, &name, &mut BufWriter::with_capacity(BUFFER, out))
    })
}

/// `GET /oriel/registry/export?target=&key=&encoding=`
async fn export(call: &Call) -> Answer {
    let name = key_name(call)?;
    let encoding = encoding(call)?;
    let view = call.daemon.engine.registry_view(target(call)?).await?;
    let rehearsed = call.daemon.engine.blocking(move |_| {
        write_key(&view, &name, encoding, io::sink()).map_err(unwritable)?;
        Ok::<_, EngineError>((view, name))
    });
    let (view, name) = rehearsed.await?;
    bit_by_bit(&call.daemon.engine, "text/plain", move |out| {
        write_key(&view, &name, encoding, BufWriter::with_capacity(BUFFER, out))
    })
}

/// `POST /oriel/registry/import?target=&t=`
async fn import(mut call: Call) -> Answer {
    let names = call
        .query
        .all("t")
        .filter(|name| !name.is_empty())
        .map(|name| Reference::parse(name).map(Reference::or_latest))
        .collect::<Result<Vec<_>, _>>()?;
    let target = target(&call)?.to_owned();
    let engine = call.daemon.engine.clone();
    if !names.is_empty() && engine.container(&target).is_ok() {
        return Err(HttpError::invalid(format!(
            "{target} is a container, which is changed in place: no image is made that `t` could \
             name"
        )));
    }
    let limited = http_body_util::Limited::new(call.request.body_mut(), reg::MAX_FILE);
    let file = limited.collect().await.map_err(|error| {
        match error.downcast_ref::<http_body_util::LengthLimitError>() {
            Some(_) => EngineError::from(RegError::TooLarge { limit: reg::MAX_FILE }).into(),
            None => HttpError::invalid(format!("cannot read the request's body: {error}")),
        }
    })?;
    let done = engine.import_registry(&target, file.to_bytes().into()).await?;
    if let Some(image) = done.image {
        engine
            .blocking(move |engine| {
                names.iter().try_for_each(|name| engine.images().tag(&image, name))
            })
            .await?;
    }
    ok(&RegistryImported {
        keys: done.keys,
        values: done.values,
        image: done.image.map(|id| id.to_string()),
    })
}

/// `GET /oriel/diff?target=&base=&format=&encoding=`
pub(crate) async fn diff(call: &Call) -> Answer {
    let engine = &call.daemon.engine;
    let encoding = encoding(call)?;
    let as_file = match call.query.non_empty("format") {
        None | Some("json") => false,
        Some("reg") => true,
        Some(other) => return Err(HttpError::invalid(format!("unknown format {other:?}"))),
    };
    let difference = engine.difference(target(call)?, call.query.non_empty("base")).await?;
    if !as_file {
        return bit_by_bit(engine, "application/x-ndjson", move |out| {
            write_lines(&difference, &mut BufWriter::with_capacity(BUFFER, out))
        });
    }
    let rehearsed = engine.blocking(move |_| {
        write_change(&difference, encoding, io::sink()).map_err(unwritable)?;
        Ok::<_, EngineError>(difference)
    });
    let difference = rehearsed.await?;
    bit_by_bit(engine, "text/plain", move |out| {
        write_change(&difference, encoding, BufWriter::with_capacity(BUFFER, out))
    })
}

fn target(call: &Call) -> Result<&str, HttpError> {
    let target = call.query.non_empty("target");
    target.ok_or_else(|| HttpError::invalid("`target` has to name a container or an image"))
}

fn key_name(call: &Call) -> Result<KeyName, HttpError> {
    Ok(KeyName::parse(call.query.value("key").unwrap_or_default())?)
}

fn encoding(call: &Call) -> Result<Encoding, HttpError> {
    match call.query.non_empty("encoding") {
        None | Some("utf-16") => Ok(Encoding::Utf16),
        Some("utf-8") => Ok(Encoding::Utf8),
        Some(other) => Err(HttpError::invalid(format!("unknown encoding {other:?}"))),
    }
}

/// What a writer of registry files says of a name it cannot write.
fn unwritable(error: io::Error) -> EngineError {
    match error.downcast::<RegError>() {
        Ok(error) => error.into(),
        Err(source) => EngineError::File { attempt: "write a registry file", source },
    }
}

/// An answer that blocking code writes. When that fails the answer breaks off, so that nobody
/// takes a part for the whole.
fn bit_by_bit(
    engine: &Engine,
    kind: &'static str,
    write: impl FnOnce(BodyWriter) -> io::Result<()> + Send + 'static,
) -> Answer {
    let (writer, chunks) = body_writer();
    let (sender, done) = oneshot::channel();
    let worker = engine.clone();
    engine.spawn(async move {
        let work = worker.blocking(move |_| {
            write(writer).map_err(|source| EngineError::File { attempt: "write an answer", source })
        });
        // Nobody hears of it once the client has gone, which then was the error.
        let _ = sender.send(work.await);
    });
    let end = stream::once(done).filter_map(async |done| match done {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(Err(io::Error::other(chain(&error)))),
        Err(_) => Some(Err(io::ErrorKind::BrokenPipe.into())),
    });
    Ok(streamed(kind, received(chunks).map(Ok::<Bytes, io::Error>).chain(end)))
}

/// Writes one value on a line of its own.
fn line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn write_key(
    view: &RegistryView,
    name: &KeyName,
    encoding: Encoding,
    out: impl Write,
) -> io::Result<()> {
    let found = view.key(name).map_err(|error| io::Error::other(chain(&error)))?;
    let mut writer = Writer::new(out, encoding)?;
    writer.key(&found.name, &found.key)?;
    writer.finish().map(drop)
}

/// What a client wants to see at once.
struct Page {
    after: Option<Vec<WideString>>,
    depth: usize,
    limit: usize,
    values: bool,
    /// Only values of this name, and keys that have one.
    only: Option<String>,
}

impl Page {
    fn write(&self, view: &RegistryView, name: &KeyName, out: &mut impl Write) -> io::Result<()> {
        let found = view.key(name).map_err(|error| io::Error::other(chain(&error)))?;
        let (mut keys, mut bytes) = (0, 0);
        let mut latest = String::new();
        let ended = walk(&found.key, self.after.as_deref(), self.depth, &mut |step| {
            if self.only.is_some() && self.wanted(step.key).next().is_none() {
                return ControlFlow::Continue(());
            }
            if keys == self.limit || bytes > PAGE_BYTES {
                return ControlFlow::Break(line(out, &RegistryLine::Next(latest.clone())));
            }
            keys += 1;
            latest = place(step.names);
            match self.step(&found.name, &step, out) {
                Ok(written) => bytes += written,
                Err(error) => return ControlFlow::Break(Err(error)),
            }
            ControlFlow::Continue(())
        });
        ended.break_value().unwrap_or(Ok(()))?;
        out.flush()
    }

    /// Writes a key; returns the bytes of its values.
    fn step(&self, root: &WideString, step: &Step<'_>, out: &mut impl Write) -> io::Result<usize> {
        let key = step.key;
        let names = step.names.iter().map(|name| format!("\\{name}"));
        let path = std::iter::once(root.to_string()).chain(names).collect::<String>();
        line(
            out,
            &RegistryLine::Key(RegistryKey {
                name: path.rsplit('\\').next().unwrap_or_default().to_owned(),
                path,
                depth: step.names.len(),
                last: step.last,
                subkeys: key.subkeys().len(),
                values: key.values().len(),
                class: key.class.as_ref().map(ToString::to_string),
                link: link_target(key),
            }),
        )?;
        let mut bytes = 0;
        for value in self.wanted(key) {
            bytes += value.data.len();
            let (name, data) = (value.name.to_string(), data(value));
            line(out, &RegistryLine::Value(RegistryValue { name, data }))?;
        }
        Ok(bytes)
    }

    fn wanted<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a Value> {
        let only = |value: &&Value| self.only.as_ref().is_none_or(|only| value.name.matches(only));
        key.values().iter().filter(|_| self.values).filter(only)
    }
}

/// Names as a client keeps them between pages: units in hex, names parted by dots.
fn place(names: &[WideString]) -> String {
    let hex = |name: &WideString| {
        name.units().iter().map(|unit| format!("{unit:04x}")).collect::<String>()
    };
    // The key itself is none of those below it.
    if names.is_empty() {
        return ".".to_owned();
    }
    names.iter().map(hex).collect::<Vec<_>>().join(".")
}

fn parse_place(text: &str) -> Result<Vec<WideString>, HttpError> {
    let unit = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 4)?;
        u16::from_str_radix(digits, 16).ok()
    };
    let name = |text: &str| {
        let units: Option<Vec<u16>> = text.as_bytes().chunks(4).map(unit).collect();
        units.map(WideString::from)
    };
    let names = text.split('.').filter(|name| !name.is_empty()).map(name);
    names.collect::<Option<_>>().ok_or_else(|| {
        HttpError::invalid("`after` has to be what a page before ended with as `Next`")
    })
}

/// Type and data of a value for people; bytes where the data does not fit its type.
fn data(value: &Value) -> RegistryData {
    let bytes =
        || Data::Bytes { hex: value.data.iter().map(|byte| format!("{byte:02x}")).collect() };
    let number = || value.data.as_slice().try_into().ok().map(u64::from_le_bytes);
    let said = match value.kind {
        ValueKind::SZ | ValueKind::EXPAND_SZ => text(&value.data).map(Data::Text),
        ValueKind::MULTI_SZ => texts(&value.data).map(Data::Texts),
        ValueKind::DWORD => value.number().map(u64::from).map(Data::Number),
        ValueKind::QWORD => number().map(Data::Number),
        _ => None,
    };
    RegistryData { kind: kind(value.kind), data: said.unwrap_or_else(bytes) }
}

/// The text of data that is one: UTF-16 with a NUL at its end only.
fn text(data: &[u8]) -> Option<String> {
    let units = units(data)?;
    let text = units.strip_suffix(&[0]).filter(|text| !text.contains(&0))?;
    String::from_utf16(text).ok()
}

fn texts(data: &[u8]) -> Option<Vec<String>> {
    let units = units(data)?;
    let texts = units.strip_suffix(&[0])?;
    if texts.is_empty() {
        return Some(Vec::new());
    }
    texts.strip_suffix(&[0])?.split(|unit| *unit == 0).map(|t| String::from_utf16(t).ok()).collect()
}

fn units(data: &[u8]) -> Option<Vec<u16>> {
    let (units, rest) = data.as_chunks::<2>();
    rest.is_empty().then(|| units.iter().map(|unit| u16::from_le_bytes(*unit)).collect())
}

/// Name of a type.
fn kind(kind: ValueKind) -> String {
    const NAMES: [&str; 12] = [
        "REG_NONE",
        "REG_SZ",
        "REG_EXPAND_SZ",
        "REG_BINARY",
        "REG_DWORD",
        "REG_DWORD_BIG_ENDIAN",
        "REG_LINK",
        "REG_MULTI_SZ",
        "REG_RESOURCE_LIST",
        "REG_FULL_RESOURCE_DESCRIPTOR",
        "REG_RESOURCE_REQUIREMENTS_LIST",
        "REG_QWORD",
    ];
    let name = usize::try_from(kind.0).ok().and_then(|at| NAMES.get(at));
    name.map_or_else(|| format!("0x{:x}", kind.0), |name| (*name).to_owned())
}

/// The changes of a difference, with where they are and what was there.
fn trees(difference: &Difference) -> [(&'static str, &Delta, &Key); 3] {
    let (change, before) = (&difference.registry, &difference.before);
    [
        (ROOTS[0], &change.machine, &before.machine),
        (ROOTS[1], &change.default, &before.default),
        (ROOTS[2], &change.user, &before.user),
    ]
}

fn write_change(difference: &Difference, encoding: Encoding, out: impl Write) -> io::Result<()> {
    let mut writer = Writer::new(out, encoding)?;
    for (root, delta, _) in trees(difference) {
        if !delta.is_empty() {
            writer.change(&root.into(), &delta.root)?;
        }
    }
    writer.finish().map(drop)
}

fn write_lines(difference: &Difference, out: &mut impl Write) -> io::Result<()> {
    for change in &difference.files {
        let kind = match change.kind {
            FileChange::Modified => ChangeKind::Changed,
            FileChange::Added => ChangeKind::Added,
            FileChange::Deleted => ChangeKind::Deleted,
        };
        line(out, &DifferenceLine::File(PathChange { path: change.path.clone(), kind }))?;
    }
    for (root, delta, before) in trees(difference) {
        if !delta.is_empty() {
            write_delta(out, root, &delta.root, Some(before))?;
        }
    }
    out.flush()
}

/// Writes what a change does to the key `path`, which was `before`.
fn write_delta(
    out: &mut impl Write,
    path: &str,
    change: &DeltaKey,
    before: Option<&Key>,
) -> io::Result<()> {
    let mut key =
        |kind| line(out, &DifferenceLine::Key(PathChange { path: path.to_owned(), kind }));
    let before = match change.semantics {
        Semantics::Tombstone => return key(ChangeKind::Deleted),
        Semantics::SupersedeTree if before.is_some() => {
            key(ChangeKind::Deleted)?;
            None
        }
        _ => before,
    };
    match before {
        None => key(ChangeKind::Added)?,
        Some(_) if !change.values.is_empty() => key(ChangeKind::Changed)?,
        Some(_) => {}
    }
    let mut values: Vec<_> = before.into_iter().flat_map(Key::values).collect();
    values.sort_by(|a, b| a.name.name_order(&b.name));
    for value in &change.values {
        let at = values.binary_search_by(|old| old.name.name_order(value.name()));
        let old = at.ok().and_then(|at| values.get(at).copied());
        line(out, &DifferenceLine::Value(value_change(value, old)))?;
    }
    for subkey in &change.subkeys {
        let path = format!("{path}\\{}", subkey.name);
        write_delta(out, &path, subkey, before.and_then(|key| key.subkey(&subkey.name)))?;
    }
    Ok(())
}

fn value_change(change: &oriel_hive::ValueChange, old: Option<&Value>) -> ValueChange {
    let (kind, new) = match change {
        oriel_hive::ValueChange::Tombstone(_) => (ChangeKind::Deleted, None),
        oriel_hive::ValueChange::Set(value) => {
            (if old.is_some() { ChangeKind::Changed } else { ChangeKind::Added }, Some(data(value)))
        }
    };
    ValueChange { name: change.name().to_string(), kind, old: old.map(data), new }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_shown_as_what_it_is() {
        for (value, kind, expected) in [
            (Value::sz("", "a"), "REG_SZ", Data::Text("a".into())),
            (Value::dword("", 7), "REG_DWORD", Data::Number(7)),
            (Value::qword("", 8), "REG_QWORD", Data::Number(8)),
            (Value::multi_sz("", &[]), "REG_MULTI_SZ", Data::Texts(vec![])),
            (
                Value::multi_sz("", &["a", "b"]),
                "REG_MULTI_SZ",
                Data::Texts(vec!["a".into(), "b".into()]),
            ),
            (Value::new("", ValueKind::SZ, *b"ab"), "REG_SZ", Data::Bytes { hex: "6162".into() }),
            (Value::new("", ValueKind(18), [255]), "0x12", Data::Bytes { hex: "ff".into() }),
        ] {
            assert_eq!(data(&value), RegistryData { kind: kind.into(), data: expected });
        }
    }

    #[test]
    fn places_come_back() {
        for names in [vec![], vec!["a".into()], vec!["é.".into(), vec![0xd800, 0].into()]] {
            assert_eq!(parse_place(&place(&names)).unwrap(), names);
        }
        for bad in ["x", "006", "0061.zz"] {
            assert!(parse_place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_difference_tells_old_and_new() {
        let mut before = Key::new("");
        before.set_value(Value::dword("v", 1));
        before.set_value(Value::dword("gone", 1));
        before.get_or_create(r"old\below").unwrap();
        let mut after = before.clone();
        after.set_value(Value::dword("V", 2));
        after.remove_value("gone");
        after.remove("old");
        after.get_or_create("new").unwrap().set_value(Value::sz("", "x"));
        let mut out = Vec::new();
        let delta = oriel_hive::diff(&before, &after);
        write_delta(&mut out, "HKEY_CURRENT_USER", &delta.root, Some(&before)).unwrap();
        let dword = |number| format!(r#"{{"Type":"REG_DWORD","Data":{number}}}"#);
        let lines = [
            r#"{"Key":{"Path":"HKEY_CURRENT_USER","Kind":"changed"}}"#.to_owned(),
            format!(
                r#"{{"Value":{{"Name":"V","Kind":"changed","Old":{},"New":{}}}}}"#,
                dword(1),
                dword(2)
            ),
            format!(r#"{{"Value":{{"Name":"gone","Kind":"deleted","Old":{}}}}}"#, dword(1)),
            r#"{"Key":{"Path":"HKEY_CURRENT_USER\\new","Kind":"added"}}"#.to_owned(),
            r#"{"Value":{"Name":"","Kind":"added","New":{"Type":"REG_SZ","Data":"x"}}}"#.to_owned(),
            r#"{"Key":{"Path":"HKEY_CURRENT_USER\\old","Kind":"deleted"}}"#.to_owned(),
        ];
        assert_eq!(String::from_utf8(out).unwrap().lines().collect::<Vec<_>>(), lines);
    }
}
