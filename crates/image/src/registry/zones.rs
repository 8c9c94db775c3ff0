//! Names of time zones: Windows' own for those of the IANA database.

/// A line for each zone of Windows: its name, a colon, the IANA zones that it stands for.
///
/// From Unicode CLDR, `common/supplemental/windowsZones.xml` as of 2026 (Unicode-3.0), with the
/// former names of each zone that the IANA database links to it (`backward`, public domain), in the
/// compilation of tzlocal 5.4.5 (MIT). The three zones that Windows got for Canada in 2026 are not
/// in Windows Server 2022 and stand under their former names.
const ZONES: &str = include_str!("zones.txt");

/// Windows' name of a time zone of IANA's. Windows' own names are none: Wine takes them for UTC.
pub(super) fn windows_name(name: &str) -> Option<&'static str> {
    let mut lines = ZONES.lines().filter_map(|line| line.split_once(": "));
    let fits = |iana: &str| iana.split(' ').any(|zone| zone == name);
    lines.find(|(_, iana)| fits(iana)).map(|(windows, _)| windows)
}

#[cfg(test)]
mod tests {
    use super::{ZONES, windows_name};

    #[test]
    fn zones_are_found_by_all_their_names() {
        for (name, windows) in [
            ("Europe/Berlin", "W. Europe Standard Time"),
            ("Asia/Kolkata", "India Standard Time"),
            ("Asia/Calcutta", "India Standard Time"),
            ("Europe/Kyiv", "FLE Standard Time"),
            ("America/Vancouver", "Pacific Standard Time"),
            ("America/New_York", "Eastern Standard Time"),
            ("Etc/UTC", "UTC"),
            ("UTC", "UTC"),
        ] {
            assert_eq!(windows_name(name), Some(windows), "{name}");
        }
        assert_eq!(windows_name("Europe/Atlantis"), None);
        assert_eq!(windows_name("Tokyo Standard Time"), None);
        assert_eq!(windows_name(""), None);
    }

    #[test]
    fn no_zone_is_listed_twice() {
        let mut zones: Vec<&str> = ZONES.lines().flat_map(|line| line.split(' ')).collect();
        zones.retain(|zone| zone.contains('/'));
        let count = zones.len();
        zones.sort_unstable();
        zones.dedup();
        assert_eq!(zones.len(), count);
        assert!(count > 540, "{count}");
    }
}
