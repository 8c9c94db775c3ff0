//! Lines of long-running requests: build, load, pull, base build.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One JSON object of a progress stream. Every field is left out when absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Text to print as it is, line ends included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// What is being done, to what `id` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_detail: Option<ProgressDetail>,
    /// What it is done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A result for programs, such as `{"ID":"sha256:..."}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aux: Option<Value>,
    /// Why it failed; the last line then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
    /// `error_detail`'s message again, for old clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Line {
    /// Text to print.
    #[must_use]
    pub fn stream(text: impl Into<String>) -> Self {
        Self { stream: Some(text.into()), ..Self::default() }
    }

    /// A state of the whole.
    #[must_use]
    pub fn said(status: impl Into<String>) -> Self {
        Self { status: Some(status.into()), ..Self::default() }
    }

    /// A state of `id`.
    #[must_use]
    pub fn status(id: impl Into<String>, status: impl Into<String>) -> Self {
        Self { id: Some(id.into()), status: Some(status.into()), ..Self::default() }
    }

    /// A result for programs.
    #[must_use]
    pub fn aux(value: Value) -> Self {
        Self { aux: Some(value), ..Self::default() }
    }

    /// A failure.
    #[must_use]
    pub fn failure(message: impl Into<String>, code: Option<i64>) -> Self {
        let message = message.into();
        Self {
            error: Some(message.clone()),
            error_detail: Some(ErrorDetail { code, message }),
            ..Self::default()
        }
    }

    /// The line's bytes, ended as Docker ends them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("a line has string keys only");
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}

/// How far something is, in units of the thing itself: bytes for most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressDetail {
    /// Done so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<u64>,
    /// All of it, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

impl ProgressDetail {
    /// `current` of `total`.
    #[must_use]
    pub fn of(current: u64, total: u64) -> Self {
        Self { current: Some(current), total: Some(total) }
    }
}

/// Why a long-running request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// Exit code of the command that failed, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// What went wrong.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_carries_only_what_it_says() {
        assert_eq!(Line::stream("hi\n").to_bytes(), b"{\"stream\":\"hi\\n\"}\r\n");
        let failure = String::from_utf8(Line::failure("no", Some(3)).to_bytes()).unwrap();
        assert_eq!(
            failure,
            "{\"errorDetail\":{\"code\":3,\"message\":\"no\"},\"error\":\"no\"}\r\n"
        );
    }

    #[test]
    fn an_empty_detail_is_kept() {
        let line = Line {
            progress_detail: Some(ProgressDetail::default()),
            ..Line::status("a", "Waiting")
        };
        let text = String::from_utf8(line.to_bytes()).unwrap();
        assert_eq!(text, "{\"status\":\"Waiting\",\"progressDetail\":{},\"id\":\"a\"}\r\n");
    }
}
