//! `docker search`.

use oriel_api::Filters;
use oriel_distribution::{Found, TransferError};

use super::volumes::flag;
use crate::http::{Answer, Call, HttpError, ok};

const FILTERS: [&str; 3] = ["is-automated", "is-official", "stars"];
/// Results when a client does not say how many.
const RESULTS: u32 = 25;
/// Most results.
const MOST: u32 = 100;

/// `GET /images/search`: what an index on the network knows.
pub(crate) async fn search(call: &Call) -> Answer {
    let filters = Filters::parse(call.query.value("filters").unwrap_or_default(), &FILTERS)?;
    let wanted = wanted(&filters)?;
    let limit = limit(call.query.non_empty("limit"))?;
    let term = call.query.non_empty("term");
    let term = term.ok_or_else(|| HttpError::invalid("the term to search for is empty"))?;
    if term.contains("://") {
        return Err(HttpError::invalid(format!(
            "invalid repository name: repository name ({term}) should not have a scheme"
        )));
    }
    let transfers = call.daemon.transfers();
    let mut found =
        transfers.registries().search(term, limit).await.map_err(TransferError::from)?;
    found.retain(wanted);
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    ok(&found)
}

fn limit(text: Option<&str>) -> Result<u32, HttpError> {
    let Some(text) = text else { return Ok(RESULTS) };
    match text.parse::<i64>().map(u32::try_from) {
        Ok(Ok(0)) => Ok(RESULTS),
        Ok(Ok(limit)) if limit <= MOST => Ok(limit),
        Ok(_) => Err(HttpError::invalid(format!(
            "invalid limit {text}: limit must be between 1 and {MOST}"
        ))),
        Err(_) => Err(HttpError::invalid(format!("invalid limit {text:?}: not a number"))),
    }
}

fn wanted(filters: &Filters) -> Result<impl Fn(&Found) -> bool, HttpError> {
    let (official, automated) = (flag(filters, "is-official")?, flag(filters, "is-automated")?);
    let mut stars = 0;
    for text in filters.values("stars") {
        let least = text.parse::<u64>();
        let least =
            least.map_err(|_| HttpError::invalid(format!("invalid filter 'stars={text}'")))?;
        stars = stars.max(least);
    }
    Ok(move |found: &Found| {
        official.is_none_or(|official| found.is_official == official)
            && automated.is_none_or(|automated| found.is_automated == automated)
            && found.star_count >= stars
    })
}
