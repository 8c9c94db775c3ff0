//! Version numbers of the API, and which of them are served.

use std::fmt;

/// A version of the API, such as 1.51. Compared by number: 1.9 is older than 1.24.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    /// Number before the point.
    pub major: u32,
    /// Number after the point.
    pub minor: u32,
}

impl ApiVersion {
    /// The newest version served: that of Docker 28, one below the reshaping of 1.52.
    pub const MAX: Self = Self { major: 1, minor: 51 };
    /// The oldest version served: what skopeo 1.9 asks for, Debian 12's. Docker 28 begins at 1.24.
    pub const MIN: Self = Self { major: 1, minor: 22 };

    /// Whether this is version 1.`minor` or newer.
    #[must_use]
    pub fn at_least(self, minor: u32) -> bool {
        self >= Self { major: 1, minor }
    }

    /// Whether its clients read errors as JSON; others read text.
    #[must_use]
    pub fn has_json_errors(self) -> bool {
        self.at_least(24)
    }

    /// Takes the version off a path: `/v1.41/info` is version 1.41 of `/info`, a path without one
    /// is the newest. A version is anything of digits and points, as in moby's routes.
    ///
    /// # Errors
    /// When the version is well formed but not served; the texts are Docker's.
    pub fn split(path: &str) -> Result<(Self, &str), VersionError> {
        let Some((version, rest)) = path.strip_prefix("/v").and_then(|rest| {
            let end = rest.find('/')?;
            Some((Self::parse(&rest[..end])?, &rest[end..]))
        }) else {
            return Ok((Self::MAX, path));
        };
        if version > Self::MAX {
            return Err(VersionError::TooNew { version });
        }
        if version < Self::MIN {
            return Err(VersionError::TooOld { version });
        }
        Ok((version, rest))
    }

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return None;
        }
        // What is no number counts as 0, as with Docker; what is too large for one is too new.
        let number = |text: Option<&str>| match text {
            None | Some("") => 0,
            Some(digits) => digits.parse().unwrap_or(u32::MAX),
        };
        let mut numbers = text.split('.');
        Some(Self { major: number(numbers.next()), minor: number(numbers.next()) })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A version that is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionError {
    /// Newer than [`ApiVersion::MAX`].
    TooNew {
        /// The version asked for.
        version: ApiVersion,
    },
    /// Older than [`ApiVersion::MIN`].
    TooOld {
        /// The version asked for.
        version: ApiVersion,
    },
}

impl fmt::Display for VersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooNew { version } => write!(
                f,
                "client version {version} is too new. Maximum supported API version is {}",
                ApiVersion::MAX
            ),
            Self::TooOld { version } => write!(
                f,
                "client version {version} is too old. Minimum supported API version is {}, please \
                 upgrade your client to a newer version",
                ApiVersion::MIN
            ),
        }
    }
}

impl std::error::Error for VersionError {}

impl VersionError {
    /// The version asked for.
    #[must_use]
    pub fn version(self) -> ApiVersion {
        let (Self::TooNew { version } | Self::TooOld { version }) = self;
        version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_version_is_the_newest() {
        assert_eq!(ApiVersion::split("/_ping"), Ok((ApiVersion::MAX, "/_ping")));
        assert_eq!(ApiVersion::split("/volumes"), Ok((ApiVersion::MAX, "/volumes")));
        assert_eq!(ApiVersion::split("/version"), Ok((ApiVersion::MAX, "/version")));
    }

    #[test]
    fn a_version_is_taken_off_the_path() {
        let version = ApiVersion { major: 1, minor: 41 };
        assert_eq!(ApiVersion::split("/v1.41/containers/json"), Ok((version, "/containers/json")));
    }

    #[test]
    fn versions_outside_the_range_get_dockers_words() {
        let error = ApiVersion::split("/v1.99/info").unwrap_err().to_string();
        assert_eq!(error, "client version 1.99 is too new. Maximum supported API version is 1.51");
        let error = ApiVersion::split("/v1.9/info").unwrap_err().to_string();
        assert!(error.starts_with("client version 1.9 is too old."), "{error}");
    }

    #[test]
    fn every_version_from_the_oldest_to_the_newest_is_served() {
        for minor in ApiVersion::MIN.minor..=ApiVersion::MAX.minor {
            let version = ApiVersion { major: 1, minor };
            let path = format!("/v{version}/info");
            assert_eq!(ApiVersion::split(&path), Ok((version, "/info")));
        }
        for (path, plain) in [
            ("/v1.21/info", true),
            ("/v1/info", true),
            ("/v0.99/info", true),
            ("/v1.52/info", false),
            ("/v2.0/info", false),
            ("/v99999999999.0/info", false),
        ] {
            let version = ApiVersion::split(path).unwrap_err().version();
            assert_eq!(version.has_json_errors(), !plain, "{path}");
        }
        for path in ["/vx/info", "/v/info", "/v1.x/info", "/v1.41"] {
            assert_eq!(ApiVersion::split(path), Ok((ApiVersion::MAX, path)));
        }
    }
}
