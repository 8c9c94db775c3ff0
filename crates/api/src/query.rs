//! Query strings, read as Docker reads them.

use std::fmt;

/// The parameters of a query string, in order, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses what stands after the `?`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (form_decode(name), form_decode(value))
        });
        Self(pairs.collect())
    }

    /// First value of a parameter; `None` when it is absent.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// First value of a parameter, with absent and empty being one.
    #[must_use]
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        self.value(name).filter(|value| !value.is_empty())
    }

    /// All values of a parameter that may be repeated.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is true. Docker's rule: empty, `0`, `no`, `false` and `none` are false,
    /// anything else is true.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// [`Query::flag`], with a value for an absent parameter.
    #[must_use]
    pub fn flag_or(&self, name: &str, absent: bool) -> bool {
        let Some(value) = self.value(name) else { return absent };
        !matches!(value.trim().to_ascii_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// A parameter as a number; `None` when it is absent or not one.
    #[must_use]
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.value(name)?.trim().parse().ok()
    }

    /// A parameter that has to be a whole number, with absent and empty being one.
    ///
    /// # Errors
    /// When it is none, or too large or small for `T`.
    pub fn integer<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, NumberError> {
        let wrong = |text: &str| NumberError { name: name.to_owned(), text: text.to_owned() };
        self.non_empty(name).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    }
}

/// A parameter that has to be a whole number and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberError {
    /// The parameter.
    pub name: String,
    /// What was sent.
    pub text: String,
}

impl fmt::Display for NumberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, text } = self;
        write!(f, "invalid value for {name:?}: {text:?} is no whole number in its range")
    }
}

impl std::error::Error for NumberError {}

fn form_decode(text: &str) -> String {
    percent_decode(&text.replace('+', " "))
}

/// Decodes `%XX`; what is not a valid escape stays as it is.
#[must_use]
pub fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escape {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Encodes everything but unreserved characters as `%XX`, fit for a path segment or a value.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    use std::fmt::Write as _;

    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_may_repeat() {
        let query = Query::parse("names=a%2Fb&names=c+d&path=C%3A%5Cx&lone");
        assert_eq!(query.all("names").collect::<Vec<_>>(), ["a/b", "c d"]);
        assert_eq!(query.value("path"), Some("C:\\x"));
        assert_eq!(query.value("lone"), Some(""));
        assert_eq!(query.value("none"), None);
    }

    #[test]
    fn flags_follow_dockers_rule() {
        let query = Query::parse("a=1&b=0&c=False&d=None&e=&f=yes&g=-1");
        for (name, expected) in [
            ("a", true),
            ("b", false),
            ("c", false),
            ("d", false),
            ("e", false),
            ("f", true),
            ("g", true),
            ("h", false),
        ] {
            assert_eq!(query.flag(name), expected, "{name}");
        }
        assert!(query.flag_or("h", true));
        assert!(!query.flag_or("e", true));
    }

    #[test]
    fn a_number_that_is_none_is_an_error_and_not_nothing() {
        let query = Query::parse("a=5&b=x&c=&d=-1&e=99999999999999999999");
        assert_eq!(query.integer("a"), Ok(Some(5)));
        assert_eq!(query.integer::<u32>("c"), Ok(None));
        assert_eq!(query.integer::<u32>("f"), Ok(None));
        assert_eq!(query.integer("d"), Ok(Some(-1)));
        for name in ["b", "d", "e"] {
            assert!(query.integer::<u32>(name).unwrap_err().to_string().contains(name));
        }
    }

    #[test]
    fn a_broken_escape_stays_as_it_is() {
        assert_eq!(percent_decode("100%"), "100%");
        assert_eq!(percent_decode("%zz%é"), "%zz%é");
    }

    #[test]
    fn encoding_survives_decoding() {
        let text = "C:\\Program Files/ü+&=?%";
        assert_eq!(percent_decode(&percent_encode(text)), text);
    }
}
