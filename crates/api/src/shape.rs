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
    TextOrTexts,
    TextMap,
    Object,
    Objects,
}

use Shape::{Flag, Number, Object, Objects, Text, TextMap, TextOrTexts, Texts};

const HOST_CONFIG: &[(&str, Shape)] = &[
    ("ContainerIDFile", Text),
    ("CgroupnsMode", Text),
    ("IpcMode", Text),
    ("Cgroup", Text),
    ("PidMode", Text),
    ("UTSMode", Text),
    ("UsernsMode", Text),
    ("CgroupParent", Text),
    ("CpusetCpus", Text),
    ("CpusetMems", Text),
    ("Runtime", Text),
    ("CapAdd", TextOrTexts),
    ("CapDrop", TextOrTexts),
    ("DnsOptions", Texts),
    ("DnsSearch", Texts),
    ("GroupAdd", Texts),
    ("SecurityOpt", Texts),
    ("DeviceCgroupRules", Texts),
    ("MaskedPaths", Texts),
    ("ReadonlyPaths", Texts),
    ("OomScoreAdj", Number),
    ("ShmSize", Number),
    ("MemorySwap", Number),
    ("MemorySwappiness", Number),
    ("MemoryReservation", Number),
    ("KernelMemory", Number),
    ("KernelMemoryTCP", Number),
    ("BlkioWeight", Number),
    ("CpuPeriod", Number),
    ("CpuQuota", Number),
    ("CpuRealtimePeriod", Number),
    ("CpuRealtimeRuntime", Number),
    ("IOMaximumIOps", Number),
    ("IOMaximumBandwidth", Number),
    ("Init", Flag),
    ("OomKillDisable", Flag),
    ("Sysctls", TextMap),
    ("Annotations", TextMap),
    ("Devices", Objects),
    ("DeviceRequests", Objects),
    ("Ulimits", Objects),
    ("BlkioWeightDevice", Objects),
    ("BlkioDeviceReadBps", Objects),
    ("BlkioDeviceReadIOps", Objects),
    ("BlkioDeviceWriteBps", Objects),
    ("BlkioDeviceWriteIOps", Objects),
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
        let all = |which: fn(&Value) -> bool| {
            value.as_array().is_some_and(|items| items.iter().all(which))
        };
        match self {
            Flag => value.is_boolean(),
            Number => value.is_i64(),
            Text => value.is_string(),
            Texts => all(Value::is_string),
            TextOrTexts => value.is_string() || all(Value::is_string),
            TextMap => value.as_object().is_some_and(|map| map.values().all(Value::is_string)),
            Object => value.is_object(),
            Objects => all(Value::is_object),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Flag => "true or false",
            Number => "a whole number",
            Text => "a text",
            Texts | TextOrTexts => "a list of texts",
            TextMap => "an object of texts",
            Object => "an object",
            Objects => "a list of objects",
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
            (json!({ "HostConfig": { "ShmSize": "x" } }), "HostConfig.ShmSize"),
            (json!({ "HostConfig": { "ShmSize": 1.5 } }), "HostConfig.ShmSize"),
            (json!({ "HostConfig": { "DnsSearch": ["x", 3] } }), "HostConfig.DnsSearch"),
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
            json!({ "HostConfig": { "ShmSize": null, "CapAdd": "ALL", "Unknown": [3] } }),
        ] {
            assert_eq!(check_create(&body), Ok(()));
        }
    }
}
