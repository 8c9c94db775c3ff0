//! Options whose text has a grammar: ports, mounts, networks, limits, files of variables.

use std::{collections::BTreeMap, ops::RangeInclusive, path::Path};

use anyhow::{Context, bail};
use oriel_api::container::{EndpointSettings, Mount, PortBinding, RestartPolicy};
use serde_json::{Map, Value, json};

/// Published ports by the ports inside, such as `80/tcp`.
pub(super) type Ports = BTreeMap<String, Option<Vec<PortBinding>>>;

/// Reads `[[ADDRESS:]HOST:]INSIDE[/PROTOCOL]`, both ports perhaps ranges, into `ports`.
pub(super) fn publish(text: &str, ports: &mut Ports) -> anyhow::Result<()> {
    let wrong = || format!("{text:?} is no port; write [[ADDRESS:]PORT:]PORT[/tcp|/udp]");
    let (place, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if !matches!(protocol, "tcp" | "udp" | "sctp") {
        bail!("{}", wrong());
    }
    let (outside, inside) = place.rsplit_once(':').unwrap_or(("", place));
    let (address, host) = outside.rsplit_once(':').unwrap_or(("", outside));
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let inside = range(inside).with_context(wrong)?;
    let host = if host.is_empty() { None } else { Some(range(host).with_context(wrong)?) };
    let many = inside.clone().count();
    for (at, port) in inside.enumerate() {
        let host_port = match &host {
            None => String::new(),
            Some(host) if host.clone().count() == many => {
                host.clone().nth(at).map(|port| port.to_string()).unwrap_or_default()
            }
            Some(host) if many == 1 => format!("{}-{}", host.start(), host.end()),
            Some(_) => bail!("{text:?} has ranges of different length"),
        };
        let binding = PortBinding { host_ip: Some(address.to_owned()), host_port: Some(host_port) };
        ports
            .entry(format!("{port}/{protocol}"))
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    Ok(())
}

/// Reads `PORT[-PORT][/PROTOCOL]`.
pub(super) fn expose(text: &str) -> anyhow::Result<Vec<String>> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let ports = range(ports).with_context(|| format!("{text:?} is no port or range of ports"))?;
    Ok(ports.map(|port| format!("{port}/{protocol}")).collect())
}

fn range(text: &str) -> anyhow::Result<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse()?, last.parse()?);
    if first == 0 || first > last {
        bail!("{text:?} is no range of ports");
    }
    Ok(first..=last)
}

/// Reads `no`, `always`, `unless-stopped`, `on-failure[:MOST]`.
pub(super) fn restart(text: &str) -> anyhow::Result<RestartPolicy> {
    let (name, most) = text.split_once(':').unwrap_or((text, ""));
    let maximum_retry_count = match most {
        "" => None,
        most => Some(most.parse().with_context(|| format!("{most:?} is no number of restarts"))?),
    };
    Ok(RestartPolicy { name: Some(name.to_owned()), maximum_retry_count })
}

/// Reads `key=value,key=value`; a value may be in double quotes.
fn fields(text: &str) -> Vec<(String, Option<String>)> {
    let mut pieces = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => pieces.push(String::new()),
            c => pieces.last_mut().into_iter().for_each(|piece| piece.push(c)),
        }
    }
    let split = |piece: String| match piece.split_once('=') {
        Some((name, value)) => (name.trim().to_lowercase(), Some(value.to_owned())),
        None => (piece.trim().to_lowercase(), None),
    };
    pieces.into_iter().map(split).collect()
}

/// Reads `type=...,source=...,target=...[,readonly]` and what types have of their own.
pub(super) fn mount(text: &str) -> anyhow::Result<Mount> {
    let mut mount = Mount { kind: Some("volume".to_owned()), ..Mount::default() };
    let mut options: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for (name, value) in fields(text) {
        let yes = value.as_deref().is_none_or(|value| matches!(value, "true" | "1"));
        let mut option = |group, name: &str, value: Value| {
            options.entry(group).or_default().insert(name.to_owned(), value);
        };
        let needed = || format!("{name:?} in {text:?} needs a value");
        match (name.as_str(), value) {
            ("readonly" | "ro", _) => mount.read_only = Some(yes),
            ("volume-nocopy", _) => option("VolumeOptions", "NoCopy", yes.into()),
            ("bind-create-src", _) => option("BindOptions", "CreateMountpoint", yes.into()),
            ("bind-nonrecursive", _) => option("BindOptions", "NonRecursive", yes.into()),
            (_, None) => bail!("{}", needed()),
            ("type", Some(value)) => mount.kind = Some(value.to_lowercase()),
            ("source" | "src", Some(value)) => mount.source = Some(absolute(&value)),
            ("target" | "dst" | "destination", Some(value)) => mount.target = Some(value),
            ("bind-propagation", Some(value)) => option("BindOptions", "Propagation", value.into()),
            ("volume-subpath", Some(value)) => option("VolumeOptions", "Subpath", value.into()),
            ("volume-driver", Some(value)) => {
                option("VolumeOptions", "DriverConfig", json!({ "Name": value }));
            }
            ("tmpfs-size", Some(value)) => {
                let bytes =
                    crate::format::human::parse_bytes(&value).map_err(anyhow::Error::msg)?;
                option("TmpfsOptions", "SizeBytes", bytes.into());
            }
            ("tmpfs-mode", Some(value)) => {
                let mode = u32::from_str_radix(&value, 8).with_context(needed)?;
                option("TmpfsOptions", "Mode", mode.into());
            }
            _ => bail!("a mount has no {name:?}; it has type, source, target, readonly ..."),
        }
    }
    if mount.target.is_none() {
        bail!("{text:?} has no target; write for example target='C:\\data'");
    }
    mount.other = options.into_iter().map(|(k, v)| (k.to_owned(), Value::Object(v))).collect();
    Ok(mount)
}

/// Makes a path that is relative to here absolute; names of volumes stay as they are.
fn absolute(source: &str) -> String {
    match source.starts_with('.') || source.starts_with('~') {
        true => local_path(source),
        false => source.to_owned(),
    }
}

/// Makes the source of `SOURCE:TARGET` absolute, where it is a path relative to here.
pub(super) fn bind(text: &str) -> String {
    match text.split_once(':') {
        Some((source, rest)) => format!("{}:{rest}", absolute(source)),
        None => text.to_owned(),
    }
}

fn local_path(text: &str) -> String {
    let home = std::env::var("HOME").unwrap_or_default();
    let path = match text.strip_prefix("~/") {
        Some(rest) => Path::new(&home).join(rest),
        None => text.into(),
    };
    std::path::absolute(&path).unwrap_or(path).display().to_string()
}

/// Reads a network: its name, or `name=...,alias=...,ip=...`.
pub(super) fn network(text: &str) -> anyhow::Result<(String, EndpointSettings)> {
    let mut settings = EndpointSettings::default();
    if !text.contains('=') {
        return Ok((text.to_owned(), settings));
    }
    let mut name = None;
    for (field, value) in fields(text) {
        let value = value.with_context(|| format!("{field:?} in {text:?} needs a value"))?;
        match field.as_str() {
            "name" => name = Some(value),
            "alias" => settings.aliases.get_or_insert_default().push(value),
            "ip" => settings.ipam_config.get_or_insert_default().ipv4_address = Some(value),
            "ip6" => settings.ipam_config.get_or_insert_default().ipv6_address = Some(value),
            "mac-address" => settings.mac_address = Some(value),
            "driver-opt" => {
                let (key, value) = value.split_once('=').unwrap_or((&value, ""));
                let options = settings.driver_opts.get_or_insert_default();
                options.insert(key.to_owned(), value.to_owned());
            }
            "gw-priority" => settings.gw_priority = Some(value.parse()?),
            _ => bail!("a network has no {field:?}; it has name, alias, ip, ip6, mac-address"),
        }
    }
    Ok((name.with_context(|| format!("{text:?} names no network"))?, settings))
}

/// Reads `NAME=SOFT[:HARD]`.
pub(super) fn ulimit(text: &str) -> anyhow::Result<Value> {
    let wrong = || format!("{text:?} is no limit; write NAME=SOFT[:HARD]");
    let (name, values) = text.split_once('=').with_context(wrong)?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard): (i64, i64) =
        (soft.parse().with_context(wrong)?, hard.parse().with_context(wrong)?);
    Ok(json!({ "Name": name, "Soft": soft, "Hard": hard }))
}

/// Reads `NAME=VALUE` of several options into a map; a name alone has an empty value.
pub(crate) fn pairs(list: &[String]) -> BTreeMap<String, String> {
    let split = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    list.iter().map(split).collect()
}

/// The lines of files, without comments and empty ones.
pub(super) fn lines_of(files: &[String]) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for file in files {
        let text = fs_err::read_to_string(file)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let kept =
            text.lines().map(str::trim_start).filter(|l| !l.is_empty() && !l.starts_with('#'));
        for line in kept {
            let name = line.split('=').next().unwrap_or_default();
            if name.is_empty() || name.contains(char::is_whitespace) {
                bail!("{file}: {line:?} is not NAME=VALUE");
            }
            lines.push(line.to_owned());
        }
    }
    Ok(lines)
}

/// Variables: `NAME=VALUE` as it is; of a name alone the value here, if there is one.
pub(super) fn variables(list: impl IntoIterator<Item = String>) -> Vec<String> {
    let resolve = |text: String| match text.contains('=') {
        true => Some(text),
        false => std::env::var(&text).ok().map(|value| format!("{text}={value}")),
    };
    list.into_iter().filter_map(resolve).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(text: &str) -> String {
        let mut ports = Ports::new();
        match publish(text, &mut ports) {
            Err(error) => format!("{error:#}"),
            Ok(()) => ports
                .iter()
                .flat_map(|(inside, list)| {
                    list.iter().flatten().map(move |binding| {
                        let text = |text: &Option<String>| text.clone().unwrap_or_default();
                        format!("{}:{}>{inside}", text(&binding.host_ip), text(&binding.host_port))
                    })
                })
                .collect::<Vec<_>>()
                .join(" "),
        }
    }

    #[test]
    fn ports_are_written_as_for_docker() {
        for (text, expected) in [
            ("80", ":>80/tcp"),
            ("8080:80", ":8080>80/tcp"),
            ("127.0.0.1:8080:80/udp", "127.0.0.1:8080>80/udp"),
            ("127.0.0.1::80", "127.0.0.1:>80/tcp"),
            ("[::1]:8080:80", "::1:8080>80/tcp"),
            ("8000-8001:80-81", ":8000>80/tcp :8001>81/tcp"),
            ("8000-8010:80", ":8000-8010>80/tcp"),
        ] {
            assert_eq!(published(text), expected, "{text}");
        }
        for bad in ["", "x", "0", "80/ftp", "70000:80", "1-3:1-2", "9-8"] {
            let said = published(bad);
            assert!(said.contains("no port") || said.contains("different length"), "{bad}: {said}");
        }
        assert_eq!(expose("1-2/udp").unwrap(), ["1/udp", "2/udp"]);
    }

    #[test]
    fn mounts_are_written_as_for_docker() {
        let text = "type=bind,\"source=/a,b\",target=C:\\data,readonly";
        let bound = mount(text).unwrap();
        assert_eq!(bound.source.as_deref(), Some("/a,b"));
        assert_eq!(bound.target.as_deref(), Some("C:\\data"));
        assert_eq!(bound.read_only, Some(true));
        let memory = mount("type=tmpfs,dst=C:\\t,tmpfs-size=1m").unwrap();
        assert_eq!(memory.other["TmpfsOptions"]["SizeBytes"], 1 << 20);
        for bad in ["type=bind,source=/a", "target=x,nonsense=1", "target=x,source"] {
            assert!(mount(bad).is_err(), "{bad}");
        }
        assert_eq!(bind("vol:C:\\v"), "vol:C:\\v");
        let here = std::env::current_dir().unwrap();
        assert_eq!(bind("./x:C:\\v:ro"), format!("{}/x:C:\\v:ro", here.display()));
    }

    #[test]
    fn networks_may_carry_settings() {
        let (name, settings) = network("name=n,alias=a,alias=b,ip=10.0.0.2").unwrap();
        assert_eq!(name, "n");
        assert_eq!(settings.aliases.unwrap(), ["a", "b"]);
        assert_eq!(settings.ipam_config.unwrap().ipv4_address.as_deref(), Some("10.0.0.2"));
        assert_eq!(network("nat").unwrap(), ("nat".to_owned(), EndpointSettings::default()));
        assert!(network("alias=a").is_err());
    }

    #[test]
    fn files_hold_one_variable_a_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), "\u{feff}# no\n\nA=1 2\n  B=\n").unwrap();
        let name = file.path().display().to_string();
        assert_eq!(lines_of(std::slice::from_ref(&name)).unwrap(), ["A=1 2", "B="]);
        fs_err::write(file.path(), "two words=1").unwrap();
        assert!(lines_of(&[name]).is_err());
        let variables = variables(["A=1".to_owned(), "SURELY_NOT_SET_HERE".to_owned()]);
        assert_eq!(variables, ["A=1"]);
    }

    #[test]
    fn limits_and_policies_are_numbers_where_they_should_be() {
        assert_eq!(ulimit("nofile=1:2").unwrap(), json!({"Name":"nofile","Soft":1,"Hard":2}));
        assert!(ulimit("nofile").is_err());
        assert_eq!(restart("on-failure:3").unwrap().maximum_retry_count, Some(3));
        assert!(restart("on-failure:x").is_err());
    }
}
