//! Files of the web, as `docker import URL` takes them: through the proxies and with the
//! certificates of registries, and with their patience.

use std::time::SystemTime;

use bytes::Bytes;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderName, LAST_MODIFIED},
};

use crate::{
    DistributionError, Registries,
    failure::{Failure, plain},
    transport::{self, Ask},
};

/// A file of the web that is being fetched.
#[derive(Debug)]
pub struct WebFile {
    response: Response,
}

impl Registries {
    /// Begins to fetch a file; an address without a scheme is one of plain HTTP. Redirects are
    /// followed.
    ///
    /// # Errors
    /// When `address` is none, or the server cannot be reached or has no such file.
    pub async fn web_file(&self, address: &str) -> Result<WebFile, DistributionError> {
        let ask = Ask::new(Method::GET, url(address)?);
        let client = self.transport.client_for(&ask.url).await?;
        let response = self.transport.follow(&client, &ask, None).await;
        let response = response.map_err(Failure::into_error)?;
        let status = response.status();
        if status != StatusCode::OK {
            let (method, url) = (ask.method.to_string(), plain(&ask.url));
            let said = status.to_string();
            return Err(DistributionError::Refused { method, url, status: status.as_u16(), said });
        }
        Ok(WebFile { response })
    }
}

impl WebFile {
    /// The next piece; none at the end.
    ///
    /// # Errors
    /// When the server breaks off or is silent.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, DistributionError> {
        transport::chunk(&mut self.response).await.map_err(Failure::into_error)
    }

    /// When the file was last written, if the server says so.
    #[must_use]
    pub fn modified(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(self.header(&LAST_MODIFIED)?).ok()
    }

    /// `Content-Disposition`, which may name the file.
    #[must_use]
    pub fn disposition(&self) -> Option<&str> {
        self.header(&CONTENT_DISPOSITION)
    }

    /// `Content-Type`.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.header(&CONTENT_TYPE)
    }

    fn header(&self, name: &HeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }
}

fn url(address: &str) -> Result<Url, DistributionError> {
    let whole = match address.contains("://") {
        true => address.to_owned(),
        false => format!("http://{address}"),
    };
    Url::parse(&whole).ok().filter(transport::is_web).ok_or_else(|| DistributionError::Setting {
        setting: "url",
        value: address.to_owned(),
        problem: "not the address of a file on the web; write https://HOST/FILE".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_of_the_web() {
        assert_eq!(url("h:8/f.tar").unwrap().as_str(), "http://h:8/f.tar");
        assert_eq!(url("https://h/f.tar").unwrap().as_str(), "https://h/f.tar");
        for address in ["", "file:///etc/passwd", "https://", "http://h:x/", "a b"] {
            assert!(url(address).is_err(), "{address}");
        }
    }
}
