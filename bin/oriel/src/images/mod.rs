//! Verbs about images.

pub(crate) mod archives;
pub(crate) mod build;
mod checks;
mod context;
pub(crate) mod list;
pub(crate) mod manage;
pub(crate) mod transfer;

/// An image's name without its tag or digest, and those.
pub(crate) fn split_name(image: &str) -> (&str, Option<&str>) {
    if let Some((name, digest)) = image.split_once('@') {
        return (name, Some(digest));
    }
    match image.rsplit_once(':') {
        // A colon before a slash is that of a port.
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (image, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(split_name("a"), ("a", None));
        assert_eq!(split_name("h:5000/a"), ("h:5000/a", None));
        assert_eq!(split_name("h:5000/a:1"), ("h:5000/a", Some("1")));
        assert_eq!(split_name("a@sha256:1"), ("a", Some("sha256:1")));
    }
}
