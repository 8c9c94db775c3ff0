//! Types of fields that [`CreateRequest`](crate::container::CreateRequest) takes as they come,
//! because nobody acts on them or because their kind decides what they mean. Docker refuses a text
//! where a number belongs, wherever it stands.

use std::fmt;

use serde_json::Value;

/// Type of a field. `null` is of every type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Flag,
    Number,
    Text,
    Texts,
    TextMap,
    Object,
}

use Shape::{Flag, Number, Object, Text, TextMap, Texts};

const HOST_CONFIG: &[(&str, Shape)] = &[
    ("ContainerIDFile", Text),
    ("Cgroup", Text),
    ("GroupAdd", Texts),
    ("DeviceCgroupRules", Texts),
    ("MaskedPaths", Texts),
    ("ReadonlyPaths", Texts),
    ("KernelMemory", Number),
    ("KernelMemoryTCP", Number),
    ("Annotations", TextMap),
];

const MOUNT: &[(&str, Shape)] = &[
    ("Consistency", Text),
    ("BindOptions", Object),
    ("VolumeOptions", Object),
    ("ImageOptions", Object),
    ("TmpfsOptions", Object),
    ("ClusterOptions", Object),
];

/// Fields of a mount's options, whatever its kind.
const OPTIONS: &[(&str, Shape)] = &[
    ("Propagation", Text),
    ("NonRecursive", Flag),
    ("CreateMountpoint", Flag),
    ("ReadOnlyNonRecursive", Flag),
    ("ReadOnlyForceRecursive", Flag),
    ("NoCopy", Flag),
    ("Labels", TextMap),
    ("DriverConfig", Object),
    ("Subpath", Text),
    ("SizeBytes", Number),
    ("Mode", Number),
];

/// A field of the wrong type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError {
    /// The field, with those around it.
    pub field: String,
    /// What it has to be.
    pub wanted: &'static str,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid JSON: {} has to be {}", self.field, self.wanted)
    }
}

impl std::error::Error for ShapeError {}

/// Checks the fields of the body of `POST /containers/create` that its type takes as they come.
///
/// # Errors
/// When one is of the wrong type.
pub fn check_create(body: &Value) -> Result<(), ShapeError> {
    check("", body, &[("Healthcheck", Object)])?;
    let host = &body["HostConfig"];
    check("HostConfig.", host, HOST_CONFIG)?;
    for mount in host["Mounts"].as_array().into_iter().flatten() {
        check("Mount.", mount, MOUNT)?;
        for (name, _) in MOUNT {
            check(&format!("Mount.{name}."), &mount[name], OPTIONS)?;
        }
    }
    Ok(())
}

fn check(prefix: &str, object: &Value, table: &[(&str, Shape)]) -> Result<(), ShapeError> {
    for (name, shape) in table {
        let good = object.get(name).is_none_or(|value| value.is_null() || shape.is(value));
        if !good {
            return Err(ShapeError { field: format!("{prefix}{name}"), wanted: shape.words() });
        }
    }
    Ok(())
}

impl Shape {
    fn is(self, value: &Value) -> bool {
        match self {
            Flag => value.is_boolean(),
            Number => value.is_i64(),
            Text => value.is_string(),
            Texts => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
            TextMap => value.as_object().is_some_and(|map| map.values().all(Value::is_string)),
            Object => value.is_object(),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Flag => "true or false",
            Number => "a whole number",
            Text => "a text",
            Texts => "a list of texts",
            TextMap => "an object of texts",
            Object => "an object",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_of_the_wrong_type_is_named() {
        for (body, field) in [
            (json!({ "HostConfig": { "KernelMemory": "x" } }), "HostConfig.KernelMemory"),
            (json!({ "HostConfig": { "KernelMemory": 1.5 } }), "HostConfig.KernelMemory"),
            (json!({ "HostConfig": { "GroupAdd": ["x", 3] } }), "HostConfig.GroupAdd"),
            (json!({ "HostConfig": { "Mounts": [{ "BindOptions": 3 }] } }), "Mount.BindOptions"),
            (
                json!({ "HostConfig": { "Mounts": [{ "VolumeOptions": { "NoCopy": 1 } }] } }),
                "Mount.VolumeOptions.NoCopy",
            ),
            (json!({ "Healthcheck": [] }), "Healthcheck"),
        ] {
            assert_eq!(check_create(&body).unwrap_err().field, field);
        }
    }

    #[test]
    fn what_is_absent_or_null_or_unknown_is_right() {
        for body in [
            json!({}),
            json!({ "HostConfig": null, "Healthcheck": null }),
            json!({ "HostConfig": { "KernelMemory": null, "GroupAdd": ["1"], "Unknown": [3] } }),
        ] {
            assert_eq!(check_create(&body), Ok(()));
        }
    }
}
